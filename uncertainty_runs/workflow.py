"""A user's workflow, prepared for measuring: its sampler, and the nodes before it, with the changes that protocols make."""

import copy
from pathlib import Path
from typing import Any

from .graph import Graph, WorkflowError, is_link, nearest_with, read_graph, upstream
from .node_info import Describe

__all__ = ["MAP", "PREFIX", "SAVE", "Workflow", "WorkflowError"]

# A plain sampler becomes the one that measures.
TWINS = {"KSampler": "UncertaintyKSampler", "SamplerCustomAdvanced": "UncertaintySamplerCustom"}
BASELINES, OPTIONS = "UncertaintyBaselines", "UncertaintyOptions"

# Ids of added nodes.
SAVE, MAP = "evaluation save", "evaluation map"
ADDED_BASELINES, ADDED_OPTIONS = "evaluation baselines", "evaluation options"
PICTURE, ENCODE, REPEAT = "evaluation picture", "evaluation encode", "evaluation repeat"

PREFIX = "uncertainty/evaluation"


class Workflow:
    """A graph in API format around one sampler. Methods that change something return a changed copy.

    Args:
        graph: from *File → Export (API)*. A plain sampler in it is replaced by the one that measures, with default settings.
        describe: asks ComfyUI about a node class.

    Raises:
        WorkflowError: it has no sampler, or several.
        NodeError: ComfyUI lacks a node.
    """

    def __init__(self, graph: Graph, describe: Describe) -> None:
        self.graph, self.describe = copy.deepcopy(graph), describe
        samplers = [number for number, node in graph.items() if node["class_type"] in (*TWINS, *TWINS.values())]
        if len(samplers) != 1:
            names = ", ".join((*TWINS, *TWINS.values()))
            raise WorkflowError(f"the workflow must have exactly one sampler ({names}), it has {len(samplers)}.")
        self.sampler = samplers[0]
        node = self.graph[self.sampler]
        if node["class_type"] in TWINS:
            plain, twin = describe(node["class_type"]), describe(TWINS[node["class_type"]])
            added = {name: value for name, value in twin.defaults().items() if name not in plain.inputs}
            self.graph[self.sampler] = {**node, "class_type": twin.class_type, "inputs": added | node["inputs"]}

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
        """The positive prompt."""
        return str(self.graph[self._text()]["inputs"]["text"])

    def batch_size(self) -> int:
        """Images of one run."""
        return self._whole_number(self._before("latent_image", "batch_size"), "batch_size")

    def steps(self) -> int:
        """Length of the schedule."""
        return self._whole_number(self._scheduled("steps"), "steps")

    def with_steps(self, steps: int) -> "Workflow":
        """Another number of steps."""
        return self._setting(self._scheduled("steps"), steps=steps)

    def with_denoise(self, denoise: float) -> "Workflow":
        """Only this last part of the schedule, 0 to 1."""
        return self._setting(self._scheduled("denoise"), denoise=denoise)

    def drawing(self, prompt: str, seed: int, batch_size: int | None = None) -> "Workflow":
        """Another prompt, another seed and, where given, another batch size."""
        changed = self._setting(self._text(), text=prompt)
        if "seed" in self.inputs:
            changed.inputs["seed"] = seed
        else:
            changed.graph[self._before("noise", "noise_seed")]["inputs"]["noise_seed"] = seed
        if batch_size is not None:
            changed.graph[self._before("latent_image", "batch_size")]["inputs"]["batch_size"] = batch_size
        return changed

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

    def through(self, class_type: str) -> "Workflow":
        """A model patch with its default settings, between the model and the sampler.

        Raises:
            NodeError: ComfyUI lacks the patch.
            WorkflowError: no model is connected to the sampler or its guider.
        """
        patch, (holder, name) = self.describe(class_type), self._model_input()
        changed, number = self._copy(), f"evaluation {class_type}"
        inputs = {patch.input_of_type("MODEL") or "model": changed.graph[holder]["inputs"][name]}
        changed.graph[number] = {"class_type": class_type, "inputs": inputs | patch.defaults()}
        changed.graph[holder]["inputs"][name] = [number, patch.output("MODEL")]
        return changed

    def from_picture(self, name: str, count: int) -> "Workflow":
        """Start from ``count`` copies of a picture in the input folder instead of an empty latent.

        Raises:
            WorkflowError: no VAE decodes the workflow's latents, or ComfyUI cannot repeat a latent so often.
        """
        most = self.describe("RepeatLatentBatch").inputs["amount"].maximum
        if most is not None and count > most:
            raise WorkflowError(f"count must be at most {most}, since ComfyUI repeats a latent no more often, got {count}.")
        changed = self._copy()
        vae = self.graph[self._decoder()]["inputs"]["vae"]
        for number, class_type, inputs in (
            (PICTURE, "LoadImage", {"image": name}),
            (ENCODE, "VAEEncode", {"pixels": [PICTURE, 0], "vae": vae}),
            (REPEAT, "RepeatLatentBatch", {"samples": [ENCODE, 0], "amount": count}),
        ):
            changed.graph[number] = {"class_type": class_type, "inputs": inputs}
        changed.inputs["latent_image"] = [REPEAT, 0]
        return changed

    def saving(self, *, maps: bool = False) -> Graph:
        """The graph that saves the sampler's images with their scores and, if asked for, its maps; all else is left out.

        Raises:
            WorkflowError: no VAE decodes the sampler's latents.
        """
        graph = copy.deepcopy(self.graph)
        uncertainty = [self.sampler, self.describe(graph[self.sampler]["class_type"]).output("UNCERTAINTY")]
        saved = {"images": [self._decoder(), 0], "filename_prefix": f"{PREFIX}/image", "uncertainty": uncertainty}
        graph[SAVE] = {"class_type": "UncertaintySaveImage", "inputs": saved}
        if maps:
            kept = {"uncertainty": uncertainty, "filename_prefix": f"{PREFIX}/map"}
            graph[MAP] = {"class_type": "UncertaintyMapSave", "inputs": kept}
        needed = upstream(graph, [SAVE, MAP] if maps else [SAVE])
        return {number: node for number, node in graph.items() if number in needed}

    def _copy(self) -> "Workflow":
        return Workflow(self.graph, self.describe)

    def _setting(self, number: str, **inputs: Any) -> "Workflow":
        changed = self._copy()
        changed.graph[number]["inputs"].update(inputs)
        return changed

    def _options_node(self, number: str) -> str | None:
        """Id of the node connected to the input ``options`` of a node."""
        options = self.graph[number]["inputs"].get("options")
        return None if options is None else str(options[0])

    def _with_options_node(self, number: str, class_type: str, holder: str, keep: str | None, **inputs: Any) -> "Workflow":
        """A new node at the input ``options`` of ``holder``, with its defaults and ``inputs``, and ``keep`` before it."""
        changed, described = self._copy(), self.describe(class_type)
        given = described.defaults() | inputs
        if keep is not None:
            given["options"] = self.graph[holder]["inputs"]["options"]
        changed.graph[number] = {"class_type": class_type, "inputs": given}
        changed.graph[holder]["inputs"]["options"] = [number, 0]
        return changed

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

    def _decoder(self) -> str:
        for number, node in self.graph.items():
            if node["class_type"].startswith("VAEDecode") and node["inputs"].get("samples") == [self.sampler, 0]:
                return number
        raise WorkflowError("no VAE Decode is connected to the sampler's first output: add one.")

    def _text(self) -> str:
        start = "positive" if "positive" in self.inputs else "guider"
        return self._before(start, "text", not_through=("negative", "model", "clip"))

    def _scheduled(self, name: str) -> str:
        """Id of the node that holds ``steps`` or ``denoise``: the sampler, or what makes its noise levels."""
        return self.sampler if name in self.inputs else self._before("sigmas", name)

    def _before(self, start: str, name: str, not_through: tuple[str, ...] = ()) -> str:
        """Id of the nearest node before the sampler's input ``start`` whose input ``name`` holds a value."""
        link = self.inputs.get(start)
        number = nearest_with(self.graph, link[0], name, not_through) if is_link(link) else None
        if number is None:
            raise WorkflowError(f"no node before the sampler's {start} has a {name} that can be set: enter it in a node.")
        return number
