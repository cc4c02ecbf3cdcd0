"""The text of the prompt that images are made from, read from the graph that saves them. It also runs inside ComfyUI."""

from collections.abc import Iterator
from typing import Any

from .graph import Graph, is_whole, nearest
from .job_inputs import Finder
from .node_info import Describe, NodeError, NodeInfo, NodeInput

SAVER = "UncertaintySaveImage"
SAMPLERS = ("UncertaintyKSampler", "UncertaintySamplerCustom", "UncertaintyKSamplerAdvanced")
# What the names of text encoders have in common. A saved file has no ComfyUI to ask.
ENCODER = "TextEncode"


def prompt_in(graph: Any, saver: str | None = None) -> str:
    """The positive prompt of the images that a graph saves; empty if the graph does not tell it.

    That is so where other nodes put the text together, and where images of several prompts are saved.

    Args:
        graph: a graph in API format, from anywhere.
        saver: id of the node that saves the images; None for any of them.
    """
    if not is_whole(graph) or (saver is not None and saver not in graph):
        return ""
    prompts = {Finder(graph, sampler, sampler, _describe(graph)).own_prompt() for sampler in _samplers(graph, saver)}
    return prompts.pop() if len(prompts) == 1 else ""


def _samplers(graph: Graph, saver: str | None) -> Iterator[str]:
    """Ids of the samplers whose maps are saved with images; of all samplers in the graph of a batch, which saves by itself."""
    savers = [number for number, node in graph.items() if node["class_type"] == SAVER] if saver is None else [saver]
    starts = savers or list(graph)
    for number in nearest(graph, starts, lambda number, name, link: name == "uncertainty"):
        if graph[number]["class_type"] in SAMPLERS:
            yield number


def _describe(graph: Graph) -> Describe:
    """What can be told of text encoders without ComfyUI: texts that are entered in them are prompts."""

    def describe(class_type: str) -> NodeInfo:
        if ENCODER not in class_type:
            raise NodeError(f"nothing is known of {class_type}.")
        inputs = [node["inputs"] for node in graph.values() if node["class_type"] == class_type]
        names = {name for each in inputs for name, value in each.items() if isinstance(value, str)}
        text = NodeInput("STRING", required=True, multiline=True)
        return NodeInfo(class_type, dict.fromkeys(names, text), ("CONDITIONING",))

    return describe
