"""Where a graph holds what differs from job to job: its prompt, its seeds, and the number of its images.

Types of inputs and outputs are those that ComfyUI gives. A node that it does not know may take and give anything: the missing
pack is named when ComfyUI validates the graph.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .graph import Graph, Link, WorkflowError, is_link, nearest, upstream
from .node_info import Describe, NodeError, NodeInfo

Slot = tuple[str, str]
"""The id of a node and the name of one of its inputs."""

SEEDS = ("seed", "noise_seed")
TEXT_NAMES = ("value", "text", "string", "prompt")
# Types that a sampler gives out, and those that only lead to one.
DRAWN, PASSED_ON = {"LATENT", "NOISE", "IMAGE"}, {"CONDITIONING", "GUIDER"}
NO_PROMPT = re.compile(r"^(neg|uncond|empty)|negative|system|template", re.IGNORECASE)
# How ComfyUI's nodes name the number of frames of a video.
FRAMES = ("length", "num_frames", "video_frames")
MODELS = ("model", "clip", "vae")


@dataclass(frozen=True)
class JobInputs:
    """The inputs that a job sets.

    Attributes:
        prompts: texts that are set to the prompt.
        seeds: seeds of all samplers.
        images: the number of images of a run; None where the workflow does not hold one, as if it starts from a picture.
    """

    prompts: tuple[Slot, ...]
    seeds: tuple[Slot, ...]
    images: Slot | None

    def filled(self, graph: Graph, prompt: str, seed: int, images: int | None = None) -> Graph:
        """The graph with these values. It shares its other nodes with ``graph``. Links at these inputs are replaced."""
        values: list[tuple[Slot, Any]] = [(slot, prompt) for slot in self.prompts]
        values += [(slot, seed) for slot in self.seeds]
        if self.images is not None and images is not None:
            values.append((self.images, images))
        filled = dict(graph)
        for (number, name), value in values:
            node = filled[number]
            filled[number] = {**node, "inputs": node["inputs"] | {name: value}}
        return filled


class Finder:
    """Finds these inputs.

    Args:
        graph: all nodes.
        sampler: id of the sampler that is measured.
        end: id of the node that decodes its latents.
        describe: asks ComfyUI about a node class.
    """

    def __init__(self, graph: Graph, sampler: str, end: str, describe: Describe) -> None:
        self.graph, self.sampler, self.describe = graph, sampler, describe
        needed = upstream(graph, [end])
        self.needed = [number for number in graph if number in needed]

    def seeds(self) -> tuple[Slot, ...]:
        """The seeds of all samplers and of the noise that they get.

        Raises:
            WorkflowError: there is none.
        """
        slots = []
        for number in self.needed:
            names = [name for name in SEEDS if name in self._inputs(number)]
            if names and self._samples(number):
                slots += [(number, name) for name in names]
        if not slots:
            raise WorkflowError("no node before the sampler's noise has a noise_seed that can be set: enter it in a node.")
        return tuple(slots)

    def _samples(self, number: str) -> bool:
        info = self._info(number)
        return info is None or number == self.sampler or not {"LATENT", "NOISE"}.isdisjoint(info.outputs)

    def images(self) -> Slot | None:
        """Where the number of images is set: in the nearest node before the sampler that makes latents or pictures by number.

        Nodes that only divide latents or pictures into other batches have a ``batch_size`` too, and are passed.

        Raises:
            WorkflowError: that node makes videos.
        """
        link = self._inputs(self.sampler).get("latent_image")
        if not is_link(link):
            return None
        for number in nearest(self.graph, [link[0]], self._is_picture):
            if "batch_size" in self._inputs(number) and not self._divides(number):
                self._check_still(number)
                return number, "batch_size"
        return None

    def _check_still(self, number: str) -> None:
        for name in FRAMES:
            frames = self._inputs(number).get(name)
            if type(frames) is int and frames > 1:
                raise WorkflowError(
                    f"{name} of {self._named(number)} is {frames}, which makes videos, but only still images can be batched: set "
                    f"{name} to 1."
                )

    def _divides(self, number: str) -> bool:
        info = self._info(number)
        made = {"LATENT", "IMAGE"}.intersection(() if info is None else info.outputs)
        return any(is_link(value) and self._type(value) in made for value in self._inputs(number).values())

    def _is_picture(self, number: str, name: str, link: Link) -> bool:
        return self._may_be(name, link, ("LATENT", "IMAGE"))

    def image_count(self) -> int:
        """Images of one run as the workflow has it; 1 where it starts from a picture.

        Raises:
            WorkflowError: the number cannot be read.
        """
        slot = self.images()
        if slot is None:
            return 1
        number, name = slot
        value = self._inputs(number)[name]
        if is_link(value):
            source = value[0]
            numbers = [each for each in self._inputs(source).values() if type(each) is int]
            if len(numbers) != 1 or any(map(is_link, self._inputs(source).values())):
                raise WorkflowError(
                    f"{name} of node {number} comes from {self._named(source)}: say with --batch what it should be."
                )
            (value,) = numbers
        if type(value) is not int or value < 1:
            raise WorkflowError(f"{name} of node {number} must be a whole number of at least 1, got {value!r}.")
        return int(value)

    def prompts(self) -> tuple[Slot, ...]:
        """The texts that hold the positive prompt, of all samplers. Texts that are left empty beside others are not among them.

        Raises:
            WorkflowError: there is none, they differ from encoder to encoder, or one is put together by other nodes.
        """
        encoders = {number: [self._text(number, name) for name in names] for number, names in self._encoders()}
        if not encoders:
            raise WorkflowError("no node before the sampler's positive has a text that can be set: enter it in a node.")
        texts = {number: {self._value(slot) for slot in slots} - {""} for number, slots in encoders.items()}
        held = [number for number in encoders if texts[number]]
        other = next((number for number in held if texts[number] != texts[held[0]]), None)
        if other is not None:
            raise WorkflowError(
                f"{self._named(held[0])} and {self._named(other)} hold different positive prompts, so one prompt cannot be set: "
                "leave out --prompts, or connect both to one text."
            )
        slots = dict.fromkeys(slot for each in encoders.values() for slot in each)
        return tuple(slot for slot in slots if self._value(slot) or not held)

    def own_prompt(self) -> str:
        """The workflow's own positive prompt, different texts on lines of their own; empty where nodes put it together."""
        try:
            slots = [self._text(number, name) for number, names in self._encoders() for name in names]
        except WorkflowError:
            return ""
        return "\n".join(text for text in dict.fromkeys(map(self._value, slots)) if text)

    def _encoders(self) -> Iterator[tuple[str, list[str]]]:
        """Text encoders of the positive prompts, the nearest to a sampler first, and the names of their texts."""
        found = set[str]()

        def follow(number: str, name: str, link: Link) -> bool:
            return number not in found and not NO_PROMPT.search(name) and self._may_be(name, link, ("CONDITIONING", "GUIDER"))

        for number in nearest(self.graph, self._conditions(), follow):
            names = self._texts(number)
            if names:
                found.add(number)
                yield number, names

    def _conditions(self) -> Iterator[str]:
        """Ids of the nodes at the positive inputs of all samplers, those of the measured one first."""
        for number in (self.sampler, *self.needed):
            info, inputs = self._info(number), self._inputs(number)
            # A detailer draws a picture. A node that passes prompts on, or only looks at them, draws nothing.
            draws = info is not None and not DRAWN.isdisjoint(info.outputs) and PASSED_ON.isdisjoint(info.outputs)
            for name in ("positive", "guider"):
                if is_link(inputs.get(name)) and (number == self.sampler or draws):
                    yield inputs[name][0]

    def _texts(self, number: str) -> list[str]:
        """Names of the texts that a node encodes."""
        info, inputs = self._info(number), self._inputs(number)
        known = {} if info is None else info.inputs
        names = [name for name in inputs if name in known and known[name].type == "STRING" and known[name].multiline]
        names = [name for name in names if not NO_PROMPT.search(name)]
        return names or [name for name in ("text",) if name in inputs]

    def _text(self, number: str, name: str) -> Slot:
        """Where a text is entered: in the node itself, or in the node of one text that it is connected to."""
        encoder, seen = number, {number}
        while is_link(value := self._inputs(number)[name]):
            names = self._strings(value[0])
            if len(names) != 1 or value[0] in seen:
                raise WorkflowError(
                    f"no node before the sampler's positive has a text that can be set: that of {self._named(encoder)} comes "
                    f"from {self._named(value[0])}. Enter it in {self._named(encoder)}, or connect a node that holds one text."
                )
            number, name = value[0], names[0]
            seen.add(number)
        if not isinstance(value, str):
            raise WorkflowError(f"{name} of node {number} must be a text, got {value!r}.")
        return number, name

    def _strings(self, number: str) -> list[str]:
        """Names of the texts that a node passes on."""
        info, inputs = self._info(number), self._inputs(number)
        if info is None:
            return [name for name in TEXT_NAMES if name in inputs]
        texts = [name for name in inputs if name in info.inputs and info.inputs[name].type == "STRING"]
        long = [name for name in texts if info.inputs[name].multiline]
        return long or [name for name in texts if name in TEXT_NAMES]

    def _may_be(self, name: str, link: Link, kinds: Iterable[str]) -> bool:
        kind = self._type(link)
        return name not in MODELS if kind is None else kind in (*kinds, "*")

    def _type(self, link: Link) -> str | None:
        """The type of an output; None if it is not known."""
        info = self._info(link[0])
        known = info is not None and type(link[1]) is int and 0 <= link[1] < len(info.outputs)
        return info.outputs[link[1]] if known and info is not None else None

    def _info(self, number: str) -> NodeInfo | None:
        try:
            return self.describe(self.graph[number]["class_type"])
        except NodeError:
            return None

    def _inputs(self, number: str) -> dict[str, Any]:
        inputs: dict[str, Any] = self.graph[number]["inputs"]
        return inputs

    def _value(self, slot: Slot) -> str:
        return str(self._inputs(slot[0])[slot[1]])

    def _named(self, number: str) -> str:
        return f"{self.graph[number]['class_type']} (node {number})"
