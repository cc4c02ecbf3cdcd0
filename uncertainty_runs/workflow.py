"""A user's workflow, prepared for measuring: its sampler, and the nodes before it, with the changes that protocols make."""

import copy
from pathlib import Path
from typing import Any

from .early_culling import culling_early
from .graph import Graph, WorkflowError, changed, is_link, nearest, upstream
from .graph_file import read_graph
from .job_inputs import Finder, JobInputs
from .node_info import Describe
from .samplers import decoded_sampler, is_stage, measuring, without_recorders

__all__ = ["MAP", "PREFIX", "SAVE", "Workflow", "WorkflowError"]

BASELINES, OPTIONS, EXTRA_SCORE = "UncertaintyBaselines", "UncertaintyOptions", "UncertaintyExtraScore"

# Ids of added nodes.
SAVE, MAP = "evaluation save", "evaluation map"
ADDED_BASELINES, ADDED_OPTIONS = "evaluation baselines", "evaluation options"
PICTURE, ENCODE, REPEAT = "evaluation picture", "evaluation encode", "evaluation repeat"

PREFIX = "uncertainty/evaluation"


def several_maps(count: int) -> str:
    """What is said where a run gives several maps, of which a job can keep one."""
    return (
        f"the workflow divides the images of a run into {count} batches, so that there is no one map of them: leave out --maps, "
        "or the node that divides them, such as Rebatch Latents."
    )


class Workflow:
    """A graph in API format around one sampler, the last whose latents are decoded.

    Methods that change something return a copy, which shares with the original whatever is the same. Graphs are never modified.

    Args:
        graph: from *File → Export (API)*. A plain sampler in it is replaced by the one that measures, with default settings.
        describe: asks ComfyUI about a node class.

    Raises:
        WorkflowError: it has no sampler that can be measured, several that do not depend on one another, or one without
            steps.
        NodeError: ComfyUI lacks a node.
    """

    def __init__(self, graph: Graph, describe: Describe) -> None:
        self.describe = describe
        self.sampler, self.decoder = decoded_sampler(graph)
        self.graph = measuring(graph, self.sampler, describe)
        self._check_samples()

    @classmethod
    def read(cls, path: Path, describe: Describe) -> "Workflow":
        """Read a file.

        Raises:
            OSError: it cannot be read.
            WorkflowError: it is not a graph in API format with one sampler.
            NodeError: ComfyUI lacks a node.
        """
        return cls(read_graph(path), describe)

    @property
    def inputs(self) -> dict[str, Any]:
        """The sampler's inputs."""
        inputs: dict[str, Any] = self.graph[self.sampler]["inputs"]
        return inputs

    def prompt(self) -> str:
        """The positive prompt; different texts of it on lines of their own, empty where nodes put it together."""
        return self._finder().own_prompt()

    def batch_size(self) -> int:
        """Images of one run."""
        return self._finder().image_count()

    def job_inputs(self, *, prompt: bool = True) -> JobInputs:
        """Where the seeds, the number of images and, unless it stays as it is, the prompt are set.

        Raises:
            WorkflowError: one of them cannot be set; the message says why.
        """
        find = self._finder()
        return JobInputs(find.prompts() if prompt else (), find.seeds(), find.images())

    def _check_samples(self) -> None:
        """Raise WorkflowError if the sampler has no steps, as far as its inputs tell: they may be connected."""
        given = self.inputs
        if given.get("denoise") == 0:
            raise WorkflowError(f"denoise of the sampler (node {self.sampler}) is 0, so it has no steps: set it above 0.")
        names = ("start_at_step", "end_at_step", "steps")
        stage = {name: value for name in names if type(value := given.get(name)) is int}
        if len(stage) == len(names) and stage["start_at_step"] >= min(stage["end_at_step"], stage["steps"]):
            said = ", ".join(f"{name} {value}" for name, value in stage.items())
            raise WorkflowError(
                f"the sampler (node {self.sampler}) has no steps, with {said}: set start_at_step below end_at_step and "
                "below steps."
            )

    def steps(self) -> int:
        """Number of steps that are sampled."""
        steps = self._whole_number(self._scheduled("steps"), "steps")
        if not self._is_stage():
            return steps
        start, end = (self._whole_number(self.sampler, name) for name in ("start_at_step", "end_at_step"))
        return min(end, steps) - start

    def with_steps(self, steps: int) -> "Workflow":
        """Another number of steps, a whole schedule."""
        whole = {"start_at_step": 0, "end_at_step": steps} if self._is_stage() else {}
        return self._setting(self._scheduled("steps"), steps=steps, **whole)

    def with_denoise(self, denoise: float) -> "Workflow":
        """As many steps as before, at the end of a schedule of which they are this part, 0 to 1."""
        if not self._is_stage():
            return self._setting(self._scheduled("denoise"), denoise=denoise)
        steps, whole = self.steps(), int(self.steps() / denoise)
        return self._setting(self.sampler, steps=whole, start_at_step=whole - steps, end_at_step=whole, add_noise="enable")

    def _is_stage(self) -> bool:
        return is_stage(self.graph[self.sampler])

    def drawing(self, prompt: str, seed: int, batch_size: int | None = None) -> "Workflow":
        """Another prompt, other seeds and, where given, another batch size."""
        return self._with(self.job_inputs().filled(self.graph, prompt, seed, batch_size))

    def sampling(self, **inputs: Any) -> "Workflow":
        """Other inputs of the sampler."""
        return self._setting(self.sampler, **inputs)

    def measuring(self, **baselines: bool | str) -> "Workflow":
        """Inputs of Uncertainty Baselines set: baselines to measure, or a control arm. What the workflow sets otherwise stays."""
        own = self._options_node(self.sampler)
        if own is not None and self.graph[own]["class_type"] == BASELINES:
            return self._setting(own, **baselines)
        return self._with_options_node(ADDED_BASELINES, BASELINES, self.sampler, keep=own, **baselines)

    def with_options(self, **options: Any) -> "Workflow":
        """Inputs of Uncertainty Options set. What the workflow sets otherwise stays."""
        holder, own = self.sampler, self._options_node(self.sampler)
        if own is not None and self.graph[own]["class_type"] == BASELINES:
            holder, own = own, self._options_node(own)
        if own is not None and self.graph[own]["class_type"] == OPTIONS:
            return self._setting(own, **options)
        return self._with_options_node(ADDED_OPTIONS, OPTIONS, holder, keep=None, **options)

    def finishing(self, best: int) -> "Workflow":
        """Finish only the best images of each run, chosen early (``early_culling``).

        Raises:
            WorkflowError: the schedule cannot be split.
            NodeError: ComfyUI lacks a node.
        """
        return self._with(culling_early(self.graph, self.sampler, self.steps(), best, self.describe))

    def through(self, class_type: str) -> "Workflow":
        """A model patch with its default settings, between the model and the sampler.

        Raises:
            NodeError: ComfyUI lacks the patch.
            WorkflowError: no model is connected to the sampler or its guider.
        """
        patch, (holder, name) = self.describe(class_type), self._model_input()
        number = f"evaluation {class_type}"
        inputs = {patch.input_of_type("MODEL") or "model": self.graph[holder]["inputs"][name]} | patch.defaults()
        added = self.graph | {number: {"class_type": class_type, "inputs": inputs}}
        return self._with(changed(added, holder, **{name: [number, patch.output("MODEL")]}))

    def from_picture(self, name: str, count: int) -> "Workflow":
        """Start from ``count`` copies of a picture in the input folder instead of an empty latent.

        Raises:
            WorkflowError: ComfyUI cannot repeat a latent so often.
        """
        most = self.describe("RepeatLatentBatch").inputs["amount"].maximum
        if most is not None and count > most:
            raise WorkflowError(f"count must be at most {most}, since ComfyUI repeats a latent no more often, got {count}.")
        vae = self.graph[self.decoder]["inputs"]["vae"]
        added = {
            PICTURE: {"class_type": "LoadImage", "inputs": {"image": name}},
            ENCODE: {"class_type": "VAEEncode", "inputs": {"pixels": [PICTURE, 0], "vae": vae}},
            REPEAT: {"class_type": "RepeatLatentBatch", "inputs": {"samples": [ENCODE, 0], "amount": count}},
        }
        return self._with(changed(self.graph | added, self.sampler, latent_image=[REPEAT, 0]))

    def saving(self, *, maps: bool = False) -> Graph:
        """The graph that saves the sampler's images with their scores and, if asked for, its maps; all else is left out.

        Extra scores that the workflow adds to the map of the sampler are saved too.

        Raises:
            WorkflowError: scores are added to this map in several nodes side by side.
        """
        uncertainty = self._with_extra_scores(self.sampler)
        saved = {"images": [self.decoder, 0], "filename_prefix": f"{PREFIX}/image", "uncertainty": uncertainty}
        added = {SAVE: {"class_type": "UncertaintySaveImage", "inputs": saved}}
        if maps:
            kept = {"uncertainty": uncertainty, "filename_prefix": f"{PREFIX}/map"}
            added[MAP] = {"class_type": "UncertaintyMapSave", "inputs": kept}
        graph = self.graph | added
        needed = upstream(graph, added)
        return without_recorders({number: node for number, node in graph.items() if number in needed}, self.describe)

    def _with_extra_scores(self, number: str) -> list[Any]:
        """Where the map of a node comes out with all scores that are added to it."""
        adding: dict[tuple[str, int], list[str]] = {}
        for other, node in self.graph.items():
            if node["class_type"] == EXTRA_SCORE and is_link(link := node["inputs"].get("uncertainty")):
                adding.setdefault((str(link[0]), link[1]), []).append(other)
        while True:
            uncertainty = (number, self.describe(self.graph[number]["class_type"]).output("UNCERTAINTY"))
            found = adding.get(uncertainty, [])
            if not found:
                return list(uncertainty)
            if len(found) > 1:
                raise WorkflowError(
                    f"{EXTRA_SCORE} nodes {' and '.join(found)} add scores to the same map: connect the second one behind the "
                    "first."
                )
            (number,) = found

    def _with(self, graph: Graph) -> "Workflow":
        other = copy.copy(self)
        other.graph = graph
        return other

    def _setting(self, number: str, **inputs: Any) -> "Workflow":
        return self._with(changed(self.graph, number, **inputs))

    def _finder(self) -> Finder:
        return Finder(self.graph, self.sampler, self.decoder, self.describe)

    def _options_node(self, number: str) -> str | None:
        """Id of the node connected to the input ``options`` of a node."""
        options = self.graph[number]["inputs"].get("options")
        return None if options is None else str(options[0])

    def _with_options_node(self, number: str, class_type: str, holder: str, keep: str | None, **inputs: Any) -> "Workflow":
        """A new node at the input ``options`` of ``holder``, with its defaults and ``inputs``, and ``keep`` before it."""
        given = self.describe(class_type).defaults() | inputs
        if keep is not None:
            given["options"] = self.graph[holder]["inputs"]["options"]
        added = self.graph | {number: {"class_type": class_type, "inputs": given}}
        return self._with(changed(added, holder, options=[number, 0]))

    def _model_input(self) -> tuple[str, str]:
        """Where the sampler's model is connected: a node, the sampler or its guider, and the name of the input."""
        number, described = self.sampler, self.describe(self.graph[self.sampler]["class_type"])
        guider = described.input_of_type("GUIDER")
        if guider is not None:
            number = str(self.inputs[guider][0])
            described = self.describe(self.graph[number]["class_type"])
        name = described.input_of_type("MODEL")
        if name is None or not is_link(self.graph[number]["inputs"].get(name)):
            raise WorkflowError(f"{described.class_type} (node {number}) has no connected model that could be patched.")
        return number, name

    def _whole_number(self, number: str, name: str) -> int:
        value = self.graph[number]["inputs"][name]
        if type(value) is not int:
            raise WorkflowError(f"{name} of node {number} must be a whole number, got {value!r}.")
        return value

    def _scheduled(self, name: str) -> str:
        """Id of the node that holds ``steps`` or ``denoise``: the sampler, or what makes its noise levels."""
        if name in self.inputs:
            return self.sampler
        link = self.inputs.get("sigmas")
        for number in nearest(self.graph, [link[0]] if is_link(link) else []):
            inputs = self.graph[number]["inputs"]
            if name in inputs and not is_link(inputs[name]):
                return number
        raise WorkflowError(f"no node before the sampler's sigmas has a {name} that can be set: enter it in a node.")
