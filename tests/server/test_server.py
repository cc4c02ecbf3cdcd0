"""The pack in a real server: the demo's graph, bad values, reproducibility."""

import copy
import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from dev.bootstrap import ROOT
from dev.client import Graph, Outputs, PromptRejected, get, node_with, run, view
from dev.demo import WORKFLOW
from dev.server import NODES, ComfyServer

BATCH, KEEP = 4, 1


@pytest.fixture
def graph() -> Graph:
    """The demo's graph, smaller."""
    graph: Graph = json.loads(WORKFLOW.read_text())
    inputs(graph, "EmptyLatentImage")["batch_size"] = BATCH
    inputs(graph, "UncertaintyKSampler")["steps"] = 8
    inputs(graph, "UncertaintyScoreFilter")["keep"] = KEEP
    return graph


def inputs(graph: Graph, class_type: str) -> dict:
    """Inputs of the first node of a class."""
    return graph[node_with(graph, class_type)]["inputs"]


def pixels(server: ComfyServer, graph: Graph, outputs: Outputs, prefix: str) -> np.ndarray:
    """What the SaveImage node with this prefix saved."""
    files = outputs[node_with(graph, "SaveImage", filename_prefix=prefix)]["images"]
    return np.stack([np.asarray(Image.open(io.BytesIO(view(server.url, file)))) for file in files])


def test_demo_graph_gives_its_files(server: ComfyServer, graph: Graph) -> None:
    outputs = run(server.url, graph)
    images = pixels(server, graph, outputs, "uncertainty/images")
    assert images.shape == (BATCH, 64, 64, 3)
    overlays = pixels(server, graph, outputs, "uncertainty/overlays")
    assert overlays.shape == images.shape
    assert not np.array_equal(overlays, images)

    judged = outputs[node_with(graph, "UncertaintyScoreFilter")]
    scores = judged["scores"]
    assert len(scores) == len(judged["standard_errors"]) == BATCH
    assert all(map(math.isfinite, scores))
    assert len(set(scores)) == BATCH
    assert judged["kept"] == [scores.index(min(scores))]
    assert judged["quantity"] == [inputs(graph, "UncertaintyScoreFilter")["quantity"]]
    kept, rejected = (pixels(server, graph, outputs, f"uncertainty/{name}") for name in ("kept", "rejected"))
    assert np.array_equal(kept, images[judged["kept"]])
    assert np.array_equal(rejected, np.delete(images, judged["kept"], axis=0))


def test_strength_zero_is_ksampler_bit_for_bit(server: ComfyServer, graph: Graph) -> None:
    sampler = node_with(graph, "UncertaintyKSampler")
    graph[sampler]["inputs"] |= {"strength": 0.0, "seed": 17}  # a seed of its own: ComfyUI keeps results of earlier tests
    names = ("model", "seed", "steps", "cfg", "sampler_name", "scheduler", "positive", "negative", "latent_image", "denoise")
    graph["stock"] = {"class_type": "KSampler", "inputs": {name: graph[sampler]["inputs"][name] for name in names}}
    guided = copy.deepcopy(graph[sampler])
    guided["inputs"]["strength"] = 10.0
    graph["guided"] = guided
    for name in ("stock", "guided"):
        vae = inputs(graph, "VAEDecode")["vae"]
        graph[f"{name} decoded"] = {"class_type": "VAEDecode", "inputs": {"samples": [name, 0], "vae": vae}}
        save = {"filename_prefix": f"uncertainty/{name}", "images": [f"{name} decoded", 0]}
        graph[f"{name} saved"] = {"class_type": "SaveImage", "inputs": save}
    steps: dict[str, list[tuple[int, int]]] = {}
    outputs = run(server.url, graph, lambda node, value, maximum: steps.setdefault(node, []).append((value, maximum)))
    measured = pixels(server, graph, outputs, "uncertainty/images")
    assert np.array_equal(measured, pixels(server, graph, outputs, "uncertainty/stock"))
    assert not np.array_equal(measured, pixels(server, graph, outputs, "uncertainty/guided"))
    assert steps["stock"][-1] == (8, 8)
    assert steps[sampler] == steps["guided"] == steps["stock"]  # the same progress, step by step


def test_same_seed_same_bits(server: ComfyServer, graph: Graph) -> None:
    sampler = node_with(graph, "UncertaintyKSampler")
    graph[sampler]["inputs"]["strength"] = 1.0
    results = []
    for seed in (5, 6, 5):  # the run in between makes ComfyUI forget the first one's results
        graph[sampler]["inputs"]["seed"] = seed
        sampled: set[str] = set()
        outputs = run(server.url, graph, lambda node, value, maximum, sampled=sampled: sampled.add(node))
        assert sampler in sampled
        scores = outputs[node_with(graph, "UncertaintyScoreFilter")]["scores"]
        results.append((scores, *(pixels(server, graph, outputs, f"uncertainty/{name}") for name in ("images", "overlays"))))
    first, other, again = results
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("node", "name", "value", "words"),
    [
        ("UncertaintyKSampler", "samples", 1, ["samples", "smaller than min of 2"]),
        ("UncertaintyKSampler", "samples", 65, ["samples", "bigger than max of 64"]),
        ("UncertaintyKSampler", "percentile", 101, ["percentile", "bigger than max of 100"]),
        ("UncertaintyKSampler", "strength", -101, ["strength", "smaller than min of -100"]),
        ("UncertaintyKSampler", "sampler_name", "x", ["sampler_name", "'x'"]),
        ("UncertaintyKSampler", "window_end", 2, ["window_end", "between 0 and 1", "2"]),
        ("UncertaintyKSampler", "window_start", 0.95, ["window_start", "0.95", "window_end", "0.9"]),
        ("UncertaintyKSampler", "model", None, ["model", "missing"]),
        ("UncertaintyMapPreview", "opacity", 1.5, ["opacity", "bigger than max of 1"]),
        ("UncertaintyMapPreview", "colormap", "x", ["colormap", "'x'"]),
        ("UncertaintyMapPreview", "quantity", "x", ["quantity", "'x'", "denoised_variance"]),
        ("UncertaintyDemoModel", "family", "x", ["family", "'x'", "rectified flow"]),
        ("UncertaintyScoreFilter", "mode", "x", ["mode", "'x'", "keep_best"]),
        ("UncertaintyScoreFilter", "window_end", 0.0, ["window_start", "window_end", "0.0"]),
        ("UncertaintyScoreFilter", "keep", 0, ["keep", "smaller than min of 1"]),
        ("UncertaintyScoreFilter", "uncertainty", None, ["uncertainty", "missing"]),
    ],
)
def test_bad_value_is_refused_by_name(
    server: ComfyServer, graph: Graph, node: str, name: str, value: object, words: list[str]
) -> None:
    if value is None:
        del inputs(graph, node)[name]
    else:
        inputs(graph, node)[name] = value
    with pytest.raises(PromptRejected) as refused:
        run(server.url, graph)
    errors = refused.value.answer["node_errors"][node_with(graph, node)]["errors"]
    message = " ".join(f"{error['message']} {error['details']}" for error in errors)
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("node", NODES)
def test_help_page_is_served(server: ComfyServer, node: str) -> None:
    assert get(server.url, f"/extensions/uncertainty-sampling/docs/{node}.md").startswith(b"# ")


def test_example_workflows_are_offered_as_templates(server: ComfyServer) -> None:
    offered = json.loads(get(server.url, "/workflow_templates"))["uncertainty-sampling"]
    assert sorted(offered) == sorted(file.stem for file in (ROOT / "example_workflows").glob("*.json"))
