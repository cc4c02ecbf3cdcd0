"""A user's workflow, made ready to be measured: its sampler, and what feeds it, under names a protocol can change."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uncertainty.options import Options

# A plain sampler becomes its measuring twin; what the twin has more of.
TWINS = {"KSampler": "UncertaintyKSampler", "SamplerCustomAdvanced": "UncertaintySamplerCustom"}
MEASURING = {"samples": 5, "strength": 0.0, "percentile": 95.0, "window_start": 0.9, "window_end": 0.98}

# Of the measuring samplers, as far as they are taken.
OUTPUTS = {"UncertaintyKSampler": ("latent", "uncertainty"), "UncertaintySamplerCustom": ("output", "denoised", "uncertainty")}

SAVE, MAP, BASELINES, OPTIONS = "evaluation save", "evaluation map", "evaluation baselines", "evaluation options"
PREFIX = "uncertainty/evaluation"
MOST_REPEATED = 64

# Inputs of UncertaintyOptions that a graph must name.
REQUIRED_OPTIONS = ("estimator", "gradient", "direction", "mask_scope", "mask_side", "score_source", "max_batch")

Graph = dict[str, dict[str, Any]]
Link = list[Any]


class WorkflowError(ValueError):
    """A workflow that cannot be evaluated; the message says why and what to do."""


class Workflow:
    """A graph in API format around one sampler. Changing methods return a changed copy.

    Args:
        graph: from *File → Export (API)*.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = copy.deepcopy(graph)
        for node in self.graph.values():
            if node["class_type"] in TWINS:
                node["class_type"] = TWINS[node["class_type"]]
                node["inputs"] = MEASURING | node["inputs"]
        samplers = [number for number, node in self.graph.items() if node["class_type"] in TWINS.values()]
        if len(samplers) != 1:
            names = " or ".join((*TWINS, *TWINS.values()))
            raise WorkflowError(f"the workflow must have exactly one sampler ({names}), found {len(samplers)}.")
        self.sampler = samplers[0]

    @classmethod
    def read(cls, path: Path) -> "Workflow":
        """Read a file.

        Raises:
            OSError: it cannot be read.
            WorkflowError: it is no graph in API format.
        """
        try:
            graph = json.loads(path.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise WorkflowError(f"{path.name} is no JSON ({error}).") from error
        if isinstance(graph, dict) and "nodes" in graph:
            raise WorkflowError(f"{path.name} is a workflow for the editor: save it with File → Export (API) and give that file.")
        if not (isinstance(graph, dict) and all(_is_node(node) for node in graph.values())):
            raise WorkflowError(f"{path.name} is no workflow in API format: save one with File → Export (API).")
        for number, node in graph.items():
            for name, value in node["inputs"].items():
                if _is_link(value) and value[0] not in graph:
                    raise WorkflowError(
                        f"{path.name} is not whole: {name} of node {number} hangs on node {value[0]}, which is not there."
                    )
        return cls(graph)

    @property
    def inputs(self) -> dict[str, Any]:
        """The sampler's inputs."""
        found: dict[str, Any] = self.graph[self.sampler]["inputs"]
        return found

    def prompt(self) -> str:
        """The text that is drawn."""
        return str(self.graph[self._text()]["inputs"]["text"])

    def batch_size(self) -> int:
        """How many images a run makes."""
        return self._whole_number(self._source("latent_image", "batch_size"), "batch_size")

    def steps(self) -> int:
        """Length of the schedule."""
        return self._whole_number(self.sampler if "steps" in self.inputs else self._source("sigmas", "steps"), "steps")

    def with_steps(self, steps: int) -> "Workflow":
        """The same with another number of steps."""
        changed = Workflow(self.graph)
        node = self.sampler if "steps" in self.inputs else self._source("sigmas", "steps")
        changed.graph[node]["inputs"]["steps"] = steps
        return changed

    def drawing(self, prompt: str, seed: int, batch_size: int | None = None) -> "Workflow":
        """The same with another text, seed and, where given, batch size."""
        changed = Workflow(self.graph)
        changed.graph[self._text()]["inputs"]["text"] = prompt
        if "seed" in self.inputs:
            changed.inputs["seed"] = seed
        else:
            changed.graph[self._source("noise", "noise_seed")]["inputs"]["noise_seed"] = seed
        if batch_size is not None:
            changed.graph[self._source("latent_image", "batch_size")]["inputs"]["batch_size"] = batch_size
        return changed

    def sampling(self, **inputs: Any) -> "Workflow":
        """The same with other inputs of the sampler."""
        changed = Workflow(self.graph)
        changed.inputs.update(inputs)
        return changed

    def measuring(self, **baselines: bool | str) -> "Workflow":
        """The same with baselines, or a control arm, switched on beside what it has."""
        switches = {"paper_score": False, "mc_dropout": False, "cfg_rejection": False, "control": "none"}
        changed = Workflow(self.graph)
        own = self.inputs.get("options")
        if own is not None and self.graph[own[0]]["class_type"] == "UncertaintyBaselines":
            changed.graph[own[0]]["inputs"].update(baselines)
            return changed
        inputs: dict[str, Any] = switches | baselines
        if own is not None:
            inputs["options"] = own
        changed.graph[BASELINES] = {"class_type": "UncertaintyBaselines", "inputs": inputs}
        changed.inputs["options"] = [BASELINES, 0]
        return changed

    def with_options(self, **options: Any) -> "Workflow":
        """The same with fields of UncertaintyOptions set, over what the workflow sets."""
        defaults = {name: getattr(Options, name) for name in REQUIRED_OPTIONS}
        changed = Workflow(self.graph)
        holder, own = changed.inputs, changed.inputs.get("options")
        if own is not None and changed.graph[own[0]]["class_type"] == "UncertaintyBaselines":
            holder = changed.graph[own[0]]["inputs"]
            own = holder.get("options")
        if own is not None and changed.graph[own[0]]["class_type"] == "UncertaintyOptions":
            changed.graph[own[0]]["inputs"].update(options)
            return changed
        changed.graph[OPTIONS] = {"class_type": "UncertaintyOptions", "inputs": defaults | options}
        holder["options"] = [OPTIONS, 0]
        return changed

    def through(self, class_type: str, **inputs: Any) -> "Workflow":
        """The same with a model patch (its first input and output are a model) in front of the sampler."""
        changed = Workflow(self.graph)
        holder = changed.inputs if "model" in changed.inputs else changed.graph[changed.inputs["guider"][0]]["inputs"]
        number = f"evaluation {class_type}"
        changed.graph[number] = {"class_type": class_type, "inputs": {"model": holder["model"], **inputs}}
        holder["model"] = [number, 0]
        return changed

    def with_denoise(self, denoise: float) -> "Workflow":
        """The same over the last part of the schedule alone."""
        changed = Workflow(self.graph)
        node = self.sampler if "denoise" in self.inputs else self._source("sigmas", "denoise")
        changed.graph[node]["inputs"]["denoise"] = denoise
        return changed

    def from_picture(self, name: str, count: int) -> "Workflow":
        """The same starting from ``count`` times a picture of the input folder instead of an empty latent.

        Raises:
            WorkflowError: no VAE decodes its latents, or ComfyUI repeats none so often.
        """
        if count > MOST_REPEATED:
            raise WorkflowError(f"count must be at most {MOST_REPEATED}, so often does ComfyUI repeat a latent; got {count}.")
        changed = Workflow(self.graph)
        vae = self.graph[self._decoder()]["inputs"]["vae"]
        changed.graph["evaluation picture"] = {"class_type": "LoadImage", "inputs": {"image": name}}
        changed.graph["evaluation encode"] = {
            "class_type": "VAEEncode",
            "inputs": {"pixels": ["evaluation picture", 0], "vae": vae},
        }
        changed.graph["evaluation repeat"] = {
            "class_type": "RepeatLatentBatch",
            "inputs": {"samples": ["evaluation encode", 0], "amount": count},
        }
        changed.inputs["latent_image"] = ["evaluation repeat", 0]
        return changed

    def saving(self, *, maps: bool = False) -> Graph:
        """The graph that saves the sampler's images with their scores, and its maps, and does nothing else.

        Raises:
            WorkflowError: no VAE decodes its latents.
        """
        decoder = self._decoder()
        graph = copy.deepcopy(self.graph)
        graph[SAVE] = {
            "class_type": "UncertaintySaveImage",
            "inputs": {
                "images": [decoder, 0],
                "filename_prefix": f"{PREFIX}/image",
                "uncertainty": [self.sampler, self._output("uncertainty")],
            },
        }
        ends = [SAVE]
        if maps:
            graph[MAP] = {
                "class_type": "UncertaintyMapSave",
                "inputs": {"uncertainty": graph[SAVE]["inputs"]["uncertainty"], "filename_prefix": f"{PREFIX}/map"},
            }
            ends.append(MAP)
        needed: set[str] = set()
        while ends:
            number = ends.pop()
            if number not in needed:
                needed.add(number)
                ends += [value[0] for value in graph[number]["inputs"].values() if _is_link(value)]
        return {number: node for number, node in graph.items() if number in needed}

    def _whole_number(self, number: str, name: str) -> int:
        value = self.graph[number]["inputs"][name]
        if type(value) is not int:
            raise WorkflowError(f"{name} of node {number} must be a whole number, got {value!r}.")
        return value

    def _output(self, name: str) -> int:
        return OUTPUTS[self.graph[self.sampler]["class_type"]].index(name)

    def _decoder(self) -> str:
        for number, node in self.graph.items():
            if node["class_type"].startswith("VAEDecode") and node["inputs"].get("samples") == [self.sampler, 0]:
                return number
        raise WorkflowError("the workflow has no VAE Decode behind its sampler's LATENT.")

    def _text(self) -> str:
        start = "positive" if "positive" in self.inputs else "guider"
        return self._source(start, "text", past=("negative", "model", "clip"))

    def _source(self, start: str, wanted: str, past: tuple[str, ...] = ()) -> str:
        """The nearest node upstream of the sampler's ``start`` with a typed-in ``wanted``, not through inputs in ``past``."""
        waiting = [self.inputs[start][0]] if _is_link(self.inputs.get(start)) else []
        seen = set()
        while waiting:
            number = waiting.pop(0)
            seen.add(number)
            inputs = self.graph[number]["inputs"]
            if wanted in inputs and not _is_link(inputs[wanted]):
                return str(number)
            waiting += [v[0] for name, v in inputs.items() if name not in past and _is_link(v) and v[0] not in seen]
        raise WorkflowError(f"no node before the sampler's {start} has a typed-in {wanted}: protocols change it, so type one in.")


def refusals(node_errors: Mapping[str, Any]) -> list[str]:
    """What ComfyUI's validation says of each node, a line each."""
    return [
        f"{node['class_type']} (node {number}): {error['message']}: {error['details']}"
        for number, node in node_errors.items()
        for error in node["errors"]
    ]


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
