"""The text of the prompt that a saved image was made from, read from the workflow that ComfyUI writes into the file."""

from collections.abc import Iterator
from pathlib import Path

from uncertainty.storage import png_entry
from uncertainty.storage.foreign import parsed

from .graph import MOST_VALUES, Graph, is_whole, nearest
from .job_inputs import Finder
from .node_info import Describe, NodeError, NodeInfo, NodeInput

SAVER = "UncertaintySaveImage"
SAMPLERS = ("UncertaintyKSampler", "UncertaintySamplerCustom")
# What the names of text encoders have in common. No ComfyUI is there to ask.
ENCODER = "TextEncode"


def prompt_of(path: Path) -> str:
    """The positive prompt of a saved image; empty if its file does not tell it.

    That is so without a workflow, where other nodes put the text together, and where a workflow saves images of several prompts.
    """
    try:
        text = png_entry.text(path, "prompt")
        graph = None if text is None else parsed(text, values=MOST_VALUES)
    except (OSError, ValueError):
        return ""
    if not is_whole(graph):
        return ""
    prompts = {Finder(graph, sampler, sampler, _describe(graph)).own_prompt() for sampler in _samplers(graph)}
    return prompts.pop() if len(prompts) == 1 else ""


def _samplers(graph: Graph) -> Iterator[str]:
    """Ids of the samplers whose maps are saved with images; of all samplers in the graph of a batch, which saves by itself."""
    savers = [number for number, node in graph.items() if node["class_type"] == SAVER]
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
