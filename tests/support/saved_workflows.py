"""Example workflows and blueprints as saved files, in API format, and the pictures of their runs."""

import io
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dev.bootstrap import ROOT
from dev.client import Graph, node_with, view
from dev.server import ComfyServer

FOLDER = ROOT / "example_workflows"
NOTE = "MarkdownNote"
TITLE = 30  # pixels of a node's title, above its position
# Pixels by which nodes grow: samplers when they show their preview, the map's view in Nodes 2.0.
GROWTH = dict.fromkeys(("KSampler", "SamplerCustomAdvanced", "UncertaintyKSampler", "UncertaintySamplerCustom"), 320)
GROWTH["UncertaintyMapPreview"] = 120


def workflow(name: str, folder: Path = FOLDER) -> dict:
    """The contents of an example's file."""
    return json.loads((folder / f"{name}.json").read_text())


def overlapping(nodes: list[dict]) -> list[tuple[str, str]]:
    """The types of nodes that cover parts of each other, once they have grown."""
    boxes = [
        (
            node["type"],
            node["pos"][0],
            node["pos"][1] - TITLE,
            *np.add(node["pos"], np.add(node["size"], (0, GROWTH.get(node["type"], 0)))),
        )
        for node in nodes
    ]
    return [
        (kind, other)
        for (kind, left, top, right, bottom), (other, other_left, other_top, other_right, other_bottom) in combinations(boxes, 2)
        if left < other_right and other_left < right and top < other_bottom and other_top < bottom
    ]


def graph_of(name: str, folder: Path = FOLDER) -> Graph:
    """An example in API format, as the front-end queues it."""
    flow = workflow(name, folder)
    return api_graph(flow["nodes"], {link[0]: [str(link[1]), link[2]] for link in flow["links"]})


def api_graph(nodes: list[dict], sources: dict[int, Any]) -> Graph:
    """Saved nodes in API format; ``sources`` has what comes through each link: a node's output, or a value."""
    graph: Graph = {}
    for node in nodes:
        if node["type"] == NOTE:
            continue
        values = list(node.get("widgets_values", []))
        inputs = {}
        for put in node["inputs"]:
            if put["link"] is not None:
                inputs[put["name"]] = sources[put["link"]]
            if "widget" in put and values:
                value = values.pop(0)
                inputs.setdefault(put["name"], value)
                if put["name"] in ("seed", "noise_seed"):
                    values.pop(0)  # the widget that says how the seed changes after a run
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return graph


def expanded(blueprint: dict, given: dict[str, Any], prefix: str) -> tuple[Graph, dict[str, Any]]:
    """The nodes of a blueprint in API format, and where its outputs come from.

    Args:
        blueprint: its file.
        given: links and values of its inputs; the others have the blueprint's values.
        prefix: of the ids of its nodes.
    """
    (node,), (inner,) = blueprint["nodes"], blueprint["definitions"]["subgraphs"]
    widgets = [put["name"] for put in node["inputs"] if "widget" in put]
    values = dict(zip(widgets, node["widgets_values"], strict=True)) | given
    inputs = [values.get(put["name"]) for put in inner["inputs"]]
    sources: dict[int, Any] = {}
    for link in inner["links"]:
        origin, slot = link["origin_id"], link["origin_slot"]
        sources[link["id"]] = inputs[slot] if origin == inner["inputNode"]["id"] else [f"{prefix}{origin}", slot]
    graph = {f"{prefix}{number}": each for number, each in api_graph(inner["nodes"], sources).items()}
    return graph, {put["name"]: sources[put["linkIds"][0]] for put in inner["outputs"]}


def few_culled_early(keep: int) -> Graph:
    """The example early_culling with four images, of which image 1 is the broken one."""
    graph = graph_of("early_culling")
    graph[node_with(graph, "EmptyLatentImage")]["inputs"]["batch_size"] = 4
    graph[node_with(graph, "UncertaintyScoreFilter")]["inputs"]["keep"] = keep
    return graph


def pixels(server: ComfyServer, shown: dict) -> np.ndarray:
    """The pictures in a node's output, (images, height, width, 3)."""
    files = [Image.open(io.BytesIO(view(server.url, file))).convert("RGB") for file in shown["images"]]
    return np.stack([np.asarray(file) for file in files])
