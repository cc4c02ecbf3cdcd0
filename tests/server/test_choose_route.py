"""Mode choose in a real server: a run ends at the filter, others go on, and an answer carries it on with the same images."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dev.client import Graph, Outputs, get, make, node_with, run, view
from dev.demo import WORKFLOW
from dev.server import ComfyServer

BATCH = 4
SAMPLER = "UncertaintyKSampler"
FILTER = "UncertaintyScoreFilter"


@pytest.fixture
def graph() -> Graph:
    """The demo's graph, small and in mode choose. No other test has its seed: ComfyUI caches results."""
    graph: Graph = json.loads(WORKFLOW.read_text())
    graph[node_with(graph, "EmptyLatentImage")]["inputs"].update(batch_size=BATCH, width=256, height=256)
    graph[node_with(graph, SAMPLER)]["inputs"].update(steps=8, seed=191)
    graph[node_with(graph, FILTER)]["inputs"]["mode"] = "choose"
    return graph


def answered(graph: Graph, keep: list[int] | list[str]) -> Graph:
    """The graph with a choice."""
    changed: Graph = json.loads(json.dumps(graph))
    changed[node_with(changed, FILTER)]["inputs"]["by_hand"] = json.dumps({"keep": keep})
    return changed


def pixels(server: ComfyServer, graph: Graph, outputs: Outputs, name: str) -> np.ndarray:
    """The images that a SaveImage node saved."""
    files = outputs[node_with(graph, "SaveImage", filename_prefix=f"uncertainty/{name}")]["images"]
    return np.stack([np.asarray(Image.open(io.BytesIO(view(server.url, file)))) for file in files])


def went_on(graph: Graph, outputs: Outputs) -> bool:
    """Whether nodes behind the filter ran: all or none of them."""
    behind = [node_with(graph, "SaveImage", filename_prefix=f"uncertainty/{name}") in outputs for name in ("kept", "rejected")]
    assert behind[0] == behind[1]
    return behind[0]


def shown(server: ComfyServer, graph: Graph, outputs: Outputs) -> dict:
    """What the view in the filter gets."""
    (name,) = outputs[node_with(graph, FILTER)]["uncertainty_view"]
    found: dict = json.loads(view(server.url, {"filename": name, "subfolder": "uncertainty", "type": "temp"}))
    return found


def test_a_run_ends_at_the_filter_and_the_answer_carries_it_on(server: ComfyServer, graph: Graph) -> None:
    outputs = run(server.url, graph)
    assert outputs[node_with(graph, FILTER)]["waits"] == [True]
    assert not went_on(graph, outputs)
    images = pixels(server, graph, outputs, "images")
    offer = shown(server, graph, outputs)
    (entry,) = json.loads(get(server.url, f"/history/{offer['run']['prompt']}")).values()
    assert entry["prompt"][2] == graph  # what the view queues again: as it was queued, without additions of ComfyUI
    assert offer["run"]["node"] == node_with(graph, FILTER)

    # Only what comes behind the filter is computed.
    sampled: set[str] = set()
    chosen = answered(graph, [offer["digests"][2], offer["digests"][0]])
    outputs = run(server.url, chosen, lambda node, value, maximum: sampled.add(node))
    assert node_with(graph, SAMPLER) not in sampled
    assert np.array_equal(pixels(server, graph, outputs, "kept"), images[[0, 2]])
    assert np.array_equal(pixels(server, graph, outputs, "rejected"), images[[1, 3]])

    # Images of another seed have no answer. They do not hold up other runs, after which an answer draws the same images again.
    other = answered(graph, [offer["digests"][2]])
    other[node_with(graph, SAMPLER)]["inputs"]["seed"] = 192
    outputs = run(server.url, other)
    assert outputs[node_with(graph, FILTER)]["waits"] == [True]
    assert not went_on(graph, outputs)
    kept = pixels(server, graph, run(server.url, answered(graph, [offer["digests"][1]])), "kept")
    assert np.array_equal(kept, images[[1]])


def test_a_run_that_waits_tells_its_last_prompt(server: ComfyServer, graph: Graph) -> None:
    """Its images are in the cache, but what comes behind the filter may have changed since."""
    graph[node_with(graph, SAMPLER)]["inputs"]["seed"] = 193
    first = shown(server, graph, run(server.url, graph))
    graph[node_with(graph, "SaveImage", filename_prefix="uncertainty/kept")]["inputs"]["filename_prefix"] = "uncertainty/changed"
    sampled: set[str] = set()
    second = shown(server, graph, run(server.url, graph, lambda node, value, maximum: sampled.add(node)))
    assert not sampled
    assert second["run"]["prompt"] != first["run"]["prompt"]
    assert second["digests"] == first["digests"]


def test_indices_answer_at_once_in_every_batch(server: ComfyServer, graph: Graph) -> None:
    """A node whose inputs are lists runs once per batch. Without an answer, each of them waits."""
    sampler = graph[node_with(graph, SAMPLER)]["inputs"]
    graph["parts"] = make("RebatchLatents", latents=sampler["latent_image"], batch_size=2)
    sampler |= {"latent_image": ["parts", 0], "seed": 194}
    outputs = run(server.url, graph)
    assert outputs[node_with(graph, FILTER)]["waits"] == [True, True]
    assert not went_on(graph, outputs)
    outputs = run(server.url, answered(graph, [1]))
    assert outputs[node_with(graph, FILTER)]["waits"] == [False, False]
    assert outputs[node_with(graph, FILTER)]["kept"] == [1, 3]
    images = pixels(server, graph, outputs, "images")
    assert np.array_equal(pixels(server, graph, outputs, "kept"), images[[1, 3]])


def test_a_choice_holds_after_a_restart(server: ComfyServer, graph: Graph, tmp_path: Path) -> None:
    graph[node_with(graph, SAMPLER)]["inputs"]["seed"] = 195
    outputs = run(server.url, graph)
    images = pixels(server, graph, outputs, "images")
    digest = shown(server, graph, outputs)["digests"][3]
    with ComfyServer(base=tmp_path / "again", log=tmp_path / "server.log") as again:
        outputs = run(again.url, answered(graph, [digest]))
        assert np.array_equal(pixels(again, graph, outputs, "kept"), images[[3]])
