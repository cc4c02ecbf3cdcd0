"""The blueprints of the node library are offered by a real server, and do what the examples do."""

import json

import numpy as np
import pytest

from dev.bootstrap import ROOT
from dev.client import get, make, node_with, run
from dev.server import ComfyServer
from saved_workflows import expanded, few_culled_early, overlapping, pixels

PACK = "custom_nodes.uncertainty-sampling"
# Workflows that contain a blueprint depend on the order of its inputs.
INPUTS = {
    "Best of N": [
        *("model", "positive", "negative", "vae", "width", "height", "N", "keep", "seed", "steps", "cfg", "sampler_name"),
        *("scheduler", "samples", "window_start", "window_end"),
    ],
    "Early Culling": [
        *("model", "positive", "negative", "latent_image", "finish", "seed", "steps", "cfg", "sampler_name", "scheduler"),
    ],
}


def blueprints(server: ComfyServer) -> dict[str, dict]:
    """The pack's blueprints that a server offers, by name."""
    served = json.loads(get(server.url, "/global_subgraphs"))
    keys = {each["name"]: key for key, each in served.items() if each["info"]["node_pack"] == PACK}
    return {name: json.loads(json.loads(get(server.url, f"/global_subgraphs/{key}"))["data"]) for name, key in keys.items()}


def test_every_blueprint_is_served(server: ComfyServer) -> None:
    assert sorted(blueprints(server)) == sorted(INPUTS) == sorted(file.stem for file in (ROOT / "subgraphs").glob("*.json"))


@pytest.mark.parametrize("name", INPUTS)
def test_a_blueprint_is_whole(name: str, server: ComfyServer) -> None:
    flow = blueprints(server)[name]
    (node,), (inner,) = flow["nodes"], flow["definitions"]["subgraphs"]
    assert node["type"] == inner["id"]
    assert node["title"] == inner["name"] == name
    assert [put["name"] for put in node["inputs"]] == [put["name"] for put in inner["inputs"]] == INPUTS[name]
    assert overlapping(inner["nodes"]) == []
    info = json.loads(get(server.url, "/object_info"))
    assert {each["type"] for each in inner["nodes"]} <= set(info)


def test_early_culling_does_what_the_example_does(server: ComfyServer) -> None:
    graph = few_culled_early(keep=2)
    empty, saved = node_with(graph, "EmptyLatentImage"), node_with(graph, "UncertaintySaveImage")
    guider, vae = graph[node_with(graph, "CFGGuider")]["inputs"], graph[node_with(graph, "VAEDecode")]["inputs"]["vae"]
    given = {name: guider[name] for name in ("model", "positive", "negative")} | {"latent_image": [empty, 0], "finish": 2}
    inner, results = expanded(blueprints(server)["Early Culling"], given, "inner ")
    outputs = run(
        server.url,
        graph
        | inner
        | {
            "decoded": make("VAEDecode", samples=results["finished latents"], vae=vae),
            "finished": graph[saved]
            | {"inputs": graph[saved]["inputs"] | {"images": ["decoded", 0], "uncertainty": results["early uncertainty"]}},
        },
    )
    finished = pixels(server, outputs["finished"])
    assert len(finished) == 2
    assert np.array_equal(finished, pixels(server, outputs[saved]))
