"""The example workflows do what they say, checked on real results."""

import json
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from dev.bootstrap import ROOT
from dev.client import Graph, Outputs, get, make, node_with, run, view
from dev.server import ComfyServer
from patience import LIMIT_SECONDS
from saved_workflows import FOLDER, NOTE, few_culled_early, graph_of, overlapping, pixels, workflow
from uncertainty.storage.tensor_files import load_map

# Workflows as each released version saved them.
SAVED = ROOT / "tests" / "fixtures" / "workflows"
NAMES = sorted(file.stem for file in FOLDER.glob("*.json"))
APPS = {"best_of_16"}  # with a layout for App mode


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_neat_and_runs_as_delivered(name: str) -> None:
    flow = workflow(name)
    kinds = [node["type"] for node in flow["nodes"]]
    assert kinds.count(NOTE) == 1
    loader = flow["nodes"][kinds.index("UncertaintyDemoModel")]
    assert "demo model" in loader["widgets_values"]
    assert set(flow["extra"]) == {"ds", *({"linearData"} if name in APPS else set())}
    assert overlapping(flow["nodes"]) == []


@pytest.mark.parametrize("path", sorted(SAVED.rglob("*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_workflow_that_an_earlier_version_saved_is_accepted(path: Path, server: ComfyServer) -> None:
    graph = graph_of(path.stem, path.parent)
    # Every saved value belongs to an input, and no required input is missing.
    info = json.loads(get(server.url, "/object_info"))
    for node in graph.values():
        required = info[node["class_type"]]["input"].get("required", {})
        assert set(required) <= set(node["inputs"]), node["class_type"]
    accepted = queued(server, graph)
    assert accepted["node_errors"] == {}


def queued(server: ComfyServer, graph: Graph) -> dict:
    """The server's answer to a graph, which is then removed from the queue."""
    answer = post(server, "/prompt", {"prompt": graph})
    post(server, "/queue", {"delete": [answer["prompt_id"]]})
    post(server, "/interrupt", {"prompt_id": answer["prompt_id"]})
    return answer


def post(server: ComfyServer, path: str, body: dict) -> dict:
    """The JSON answer to a POST."""
    request = urllib.request.Request(f"{server.url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=LIMIT_SECONDS) as response:
        return json.loads(response.read() or b"{}")


def test_the_broken_cat_has_the_worst_score(server: ComfyServer) -> None:
    graph = graph_of("best_of_16")
    assert graph[node_with(graph, "EmptyLatentImage")]["inputs"]["batch_size"] == 16
    graph[node_with(graph, "EmptyLatentImage")]["inputs"]["batch_size"] = 4  # image 1 is the broken one
    judge = node_with(graph, "UncertaintyScoreFilter")
    graph[judge]["inputs"]["keep"] = 3
    judged = run(server.url, graph)[judge]
    assert judged["kept"] == [0, 2, 3]
    assert judged["scores"][1] > 1.2 * max(judged["scores"][image] for image in judged["kept"])


def test_guidance_changes_only_the_right_of_each_pair(server: ComfyServer) -> None:
    graph = graph_of("guided_vs_unguided")
    graph[node_with(graph, "EmptyLatentImage")]["inputs"]["batch_size"] = 1
    sampler = node_with(graph, "UncertaintyKSampler", strength=0)
    stock = ("model", "seed", "steps", "cfg", "sampler_name", "scheduler", "positive", "negative", "latent_image", "denoise")
    inputs = graph[sampler]["inputs"]
    graph["stock"] = {"class_type": "KSampler", "inputs": {each: inputs[each] for each in stock}}
    vae = graph[node_with(graph, "VAEDecode")]["inputs"]["vae"]
    graph["decoded"] = {"class_type": "VAEDecode", "inputs": {"samples": ["stock", 0], "vae": vae}}
    graph["plain"] = {"class_type": "SaveImage", "inputs": {"images": ["decoded", 0], "filename_prefix": "examples/plain"}}
    outputs = run(server.url, graph)
    pair = pixels(server, outputs[node_with(graph, "SaveImage", filename_prefix="uncertainty/guided_vs_unguided")])[0]
    plain = pixels(server, outputs["plain"])[0]
    width = plain.shape[1]
    assert np.array_equal(pair[:, :width], plain)
    assert np.abs(pair[:, -width:].astype(int) - plain).max() > 50


def test_repair_mends_the_broken_cat(server: ComfyServer) -> None:
    """Only uncertain parts are redrawn, both versions are measured in the same way, and the better one is saved."""
    graph = graph_of("repair_loop")
    graph[node_with(graph, "EmptyLatentImage")]["inputs"]["batch_size"] = 2  # image 1 is the broken one
    outputs = run(server.url, graph)
    named = {node.get("title"): str(node["id"]) for node in workflow("repair_loop")["nodes"]}
    judged = outputs[named["Keep the Better"]]
    scores = np.reshape(judged["scores"], (2, 2))
    # The node runs once for each pair; what is kept is counted over all scores.
    assert judged["batches"] == [2, 2]
    chosen = [kept - 2 * pair for pair, kept in enumerate(judged["kept"])]
    assert chosen == scores.argmin(1).tolist()
    assert scores[1, 1] < 0.9 * scores[1, 0]
    pairs = pixels(server, outputs[named["Before, After, Before, After …"]]).reshape(2, 2, 64, 64, 3)
    kept = pixels(server, outputs[named["Save the Better"]])
    assert all(np.array_equal(kept[image], pairs[image, chosen[image]]) for image in range(2))
    masks = pixels(server, outputs[named["Parts to Redo"]])[..., 0].reshape(2, 64, 8, 64, 8).max((2, 4))
    for (before, after), mask in zip(pairs.astype(int), masks, strict=True):
        untouched = np.stack([np.roll(mask, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]).max(0) == 0
        assert untouched.any()
        assert np.abs(after - before)[untouched].max() <= 1
        assert np.abs(after - before)[~untouched].max() > 50


def test_overnight_runs_are_ranked_among_each_other(server: ComfyServer) -> None:
    graph = graph_of("overnight_batch")
    graph[node_with(graph, "EmptyLatentImage")]["inputs"]["batch_size"] = 2
    sampler, judge = node_with(graph, "UncertaintyKSampler"), node_with(graph, "UncertaintyScoreFilter")
    # Settings that no other test uses: tests share the ledger, and images are ranked among those of equal settings.
    graph[sampler]["inputs"] |= {"steps": 9, "window_start": 0.2}
    for number, seed in enumerate((61, 62), start=1):
        graph[sampler]["inputs"]["seed"] = seed
        outputs = run(server.url, graph)
        others = "1 other image" if number == 1 else "3 other images"
        assert f"the ledger has {others} of the same prompt and settings, fewer than 20" in outputs[judge]["text"][0]
        saved = [node for node in outputs if graph[node]["class_type"] == "UncertaintySaveImage"]
        assert sum(len(outputs[node]["images"]) for node in saved) == 2


def test_the_papers_settings(server: ComfyServer, tmp_path: Path) -> None:
    """50 steps of which 45 to 48 are measured, M = 5, plain variance, λ = 1; one image in six is dropped."""
    graph = graph_of("paper_settings")
    sampler, judge = node_with(graph, "UncertaintyKSampler"), node_with(graph, "UncertaintyScoreFilter")
    graph["map"] = {
        "class_type": "UncertaintyMapSave",
        "inputs": {"uncertainty": [sampler, 1], "filename_prefix": "examples/paper"},
    }
    outputs = run(server.url, graph)
    assert len(outputs[judge]["kept"]) == 5
    assert outputs[judge]["scores"][next(i for i in range(6) if i not in outputs[judge]["kept"])] == min(outputs[judge]["scores"])
    path = tmp_path / "map.safetensors"
    path.write_bytes(view(server.url, outputs["map"]["files"][0]))
    found = load_map(path)
    assert (found.steps, found.total_steps) == ((45, 46, 47, 48), 50)
    expected = {
        "samples": 5,
        "estimator": "paper",
        "strength": 1.0,
        "percentile": 95.0,
        "direction": "ascend",
        "mask_side": "high",
    }
    assert {key: found.settings[key] for key in expected} == expected


def beside_full_run(graph: Graph) -> Graph:
    """The graph of early_culling, in which ComfyUI's own nodes also sample all its images to the end, as node "full"."""
    inputs = graph[node_with(graph, "UncertaintySamplerCustom")]["inputs"]
    whole = {name: inputs[name] for name in ("noise", "guider", "sampler", "latent_image")}
    schedule = graph[node_with(graph, "SplitSigmasDenoise")]["inputs"]["sigmas"]
    vae = graph[node_with(graph, "VAEDecode")]["inputs"]["vae"]
    return graph | {
        "sampled": make("SamplerCustomAdvanced", **whole, sigmas=schedule),
        "decoded": make("VAEDecode", samples=["sampled", 0], vae=vae),
        "full": make("SaveImage", images=["decoded", 0], filename_prefix="examples/full"),
    }


def test_early_culling_measures_once_and_finishes_the_best(server: ComfyServer, tmp_path: Path) -> None:
    delivered = graph_of("early_culling")
    judge, saved = node_with(delivered, "UncertaintyScoreFilter"), node_with(delivered, "UncertaintySaveImage")
    assert delivered[node_with(delivered, "EmptyLatentImage")]["inputs"]["batch_size"] == 16
    assert delivered[judge]["inputs"]["keep"] == 4
    graph = beside_full_run(few_culled_early(keep=3))
    measured = [node_with(graph, "UncertaintySamplerCustom"), 2]
    graph["map"] = make("UncertaintyMapSave", uncertainty=measured, filename_prefix="examples/early")
    outputs = run(server.url, graph)
    kept, scores = outputs[judge]["kept"], outputs[judge]["scores"]
    assert kept == [0, 2, 3]
    assert scores[1] > 2 * max(scores[image] for image in kept)
    finished, full = pixels(server, outputs[saved]).astype(int), pixels(server, outputs["full"])
    assert np.abs(finished - full[kept]).max() <= 1  # sums in smaller batches round differently
    path = tmp_path / "map.safetensors"
    path.write_bytes(view(server.url, outputs["map"]["files"][0]))
    found = load_map(path)
    assert (found.steps, found.total_steps) == ((8,), 9)  # the first 30 % of 30 steps


@pytest.mark.parametrize(("sampler", "same"), [("euler", True), ("heun", True), ("ddim", True), ("dpmpp_2m", False)])
def test_the_split_schedule_of_early_culling_makes_the_images_of_a_full_run(
    sampler: str, same: bool, server: ComfyServer
) -> None:
    """Bit for bit in batches of one size, with the samplers that the note names."""
    graph = beside_full_run(few_culled_early(keep=4))
    graph[node_with(graph, "BasicScheduler")]["inputs"]["steps"] = 10
    graph[node_with(graph, "KSamplerSelect")]["inputs"]["sampler_name"] = sampler
    outputs = run(server.url, graph)
    finished = pixels(server, outputs[node_with(graph, "UncertaintySaveImage")])
    assert np.array_equal(finished, pixels(server, outputs["full"])) == same


def collected(server: ComfyServer, graph: Graph) -> tuple[list[str], list[float], Outputs]:
    """Names and scores that a graph collects, and what else it shows."""
    collect = node_with(graph, "UncertaintyCollect")
    shown = {"names": make("PreviewAny", source=[collect, 2]), "scores": make("PreviewAny", source=[collect, 1])}
    outputs = run(server.url, graph | shown)
    return outputs["names"]["text"], [float(score) for score in outputs["scores"]["text"]], outputs


def test_two_ordinary_samplers_are_recorded_and_draw_what_they_draw_without(server: ComfyServer) -> None:
    graph = graph_of("record_two_samplers")
    graph[node_with(graph, "EmptyLatentImage")]["inputs"]["batch_size"] = 1
    first, second = (node_with(graph, "KSampler", denoise=denoise) for denoise in (1, 0.5))
    names, scores, outputs = collected(server, graph)
    assert names == [f"KSampler ({first}), latent 64×64", f"KSampler ({second}), latent 96×96"]
    assert len(scores) == 2
    assert len(outputs[node_with(graph, "UncertaintyMapPreview")]["uncertainty_view"]) == 2
    record, model = node_with(graph, "UncertaintyRecord"), node_with(graph, "UncertaintyDemoModel")
    unrecorded = {
        number: node for number, node in graph.items() if not node["class_type"].startswith(("UncertaintyC", "UncertaintyM"))
    }
    unrecorded = {number: node for number, node in unrecorded.items() if node["class_type"] != "PreviewAny" and number != record}
    for number in (first, second):
        unrecorded[number]["inputs"]["model"] = [model, 0]
    saved = node_with(graph, "SaveImage")
    assert np.array_equal(pixels(server, run(server.url, unrecorded)[saved]), pixels(server, outputs[saved]))


def test_tiles_are_recorded_where_they_lie(server: ComfyServer) -> None:
    graph = graph_of("record_tiles")
    left, right = (node_with(graph, "KSampler", seed=seed) for seed in (6, 7))
    names, scores, _ = collected(server, graph)
    assert names == [f"KSampler ({left}), latent 80×128 at x 0, y 0", f"KSampler ({right}), latent 80×128 at x 48, y 0"]
    assert len(scores) == 2 and scores[0] != scores[1]


def test_no_file_tells_where_it_was_made() -> None:
    files = [*FOLDER.glob("*.json"), *(ROOT / "subgraphs").glob("*.json")]
    assert len(files) == len(NAMES) + 2
    for file in files:
        text = file.read_text()
        assert [word for word in ("/home/", "/root/", "http") if word in text] == [], file.name
