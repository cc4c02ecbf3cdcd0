"""The pack in a real server: the demo's graph, bad values, reproducibility."""

import copy
import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from dev.bootstrap import BUNDLED, ROOT, comfyui
from dev.client import Graph, Outputs, PromptFailed, PromptRejected, get, make, node_with, run, view
from dev.demo import WORKFLOW
from dev.server import NODES, ComfyServer

BATCH, KEEP, SIDE = 4, 1, 32


@pytest.fixture
def graph() -> Graph:
    """The demo's graph with a smaller batch, smaller images and fewer steps."""
    graph: Graph = json.loads(WORKFLOW.read_text())
    inputs(graph, "EmptyLatentImage").update(batch_size=BATCH, width=8 * SIDE, height=8 * SIDE)
    inputs(graph, "UncertaintyKSampler")["steps"] = 8
    inputs(graph, "UncertaintyScoreFilter")["keep"] = KEEP
    return graph


def inputs(graph: Graph, class_type: str) -> dict:
    """Inputs of the first node of a class."""
    return graph[node_with(graph, class_type)]["inputs"]


def pixels(server: ComfyServer, graph: Graph, outputs: Outputs, prefix: str) -> np.ndarray:
    """The images that the SaveImage node with this prefix saved."""
    files = outputs[node_with(graph, "SaveImage", filename_prefix=prefix)]["images"]
    return np.stack([np.asarray(Image.open(io.BytesIO(view(server.url, file)))) for file in files])


def listed(file: dict[str, str]) -> str:
    """The name of an output file in the list of a load node."""
    return f"{file['subfolder']}/{file['filename']} [output]"


def refused(server: ComfyServer, graph: Graph, number: str) -> str:
    """The server's validation messages for a node."""
    with pytest.raises(PromptRejected) as rejected:
        run(server.url, graph)
    errors = rejected.value.answer["node_errors"][number]["errors"]
    return " ".join(f"{error['message']} {error['details']}" for error in errors)


def test_demo_graph_gives_its_files(server: ComfyServer, graph: Graph) -> None:
    outputs = run(server.url, graph)
    images = pixels(server, graph, outputs, "uncertainty/images")
    assert images.shape == (BATCH, SIDE, SIDE, 3)
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
    graph[sampler]["inputs"] |= {"strength": 0.0, "seed": 17}  # a seed that no other test uses: ComfyUI caches results
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
    if comfyui() == BUNDLED:  # other versions drop events that follow too fast
        assert steps[sampler] == steps["guided"] == steps["stock"]  # the same progress, step by step


def test_same_seed_same_bits(server: ComfyServer, graph: Graph) -> None:
    sampler = node_with(graph, "UncertaintyKSampler")
    graph[sampler]["inputs"]["strength"] = 1.0
    results = []
    for seed in (5, 6, 5):  # the second run replaces the first one's results in ComfyUI's cache
        graph[sampler]["inputs"]["seed"] = seed
        sampled: set[str] = set()
        outputs = run(server.url, graph, lambda node, value, maximum, sampled=sampled: sampled.add(node))
        assert sampler in sampled
        scores = outputs[node_with(graph, "UncertaintyScoreFilter")]["scores"]
        results.append((scores, *(pixels(server, graph, outputs, f"uncertainty/{name}") for name in ("images", "overlays"))))
    first, other, again = results
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_saved_map_is_loaded_as_it_was(server: ComfyServer, graph: Graph) -> None:
    sampler, judge = (node_with(graph, name) for name in ("UncertaintyKSampler", "UncertaintyScoreFilter"))
    graph[sampler]["inputs"]["seed"] = 31
    graph["save"] = make("UncertaintyMapSave", uncertainty=[sampler, 1], filename_prefix="uncertainty/tested")
    sampled = run(server.url, graph)
    (saved,) = sampled["save"]["files"]
    assert saved == {"filename": "tested_00001_.safetensors", "subfolder": "uncertainty", "type": "output"}
    offered = json.loads(get(server.url, "/object_info/UncertaintyMapLoad"))["UncertaintyMapLoad"]["input"]["required"]["file"]
    assert listed(saved) in offered[1]["options"]

    rule = {name: value for name, value in graph[judge]["inputs"].items() if not isinstance(value, list)}
    look = {"quantity": "denoised_variance", "percentile": 90.0, "grow": 4, "feather": 4, "steps": ""}
    loaded: Graph = {
        "load": make("UncertaintyMapLoad", file=listed(saved)),
        "judge": make("UncertaintyScoreFilter", uncertainty=["load", 0], **rule),
        "plot": make("UncertaintyPlot", uncertainty=["load", 0]),
        "mask": make("UncertaintyToMask", uncertainty=["load", 0], **look),
        "picture": make("MaskToImage", mask=["mask", 0]),
        "saved plot": make("SaveImage", images=["plot", 0], filename_prefix="uncertainty/plot"),
        "saved mask": make("SaveImage", images=["picture", 0], filename_prefix="uncertainty/mask"),
    }
    outputs = run(server.url, loaded)
    assert outputs["judge"]["scores"] == sampled[judge]["scores"]
    assert pixels(server, loaded, outputs, "uncertainty/plot").std() > 10
    masks = pixels(server, loaded, outputs, "uncertainty/mask")
    assert len(masks) == BATCH and masks.min() == 0 and masks.max() == 255


def test_thresholds_are_calibrated_over_two_runs(server: ComfyServer, graph: Graph) -> None:
    sampler = node_with(graph, "UncertaintyKSampler")
    graph[sampler]["inputs"]["strength"] = 0.0
    graph["calibrate"] = make("UncertaintyCalibrate", uncertainty=[sampler, 1], name="tested calibration", percentile=95.0)
    graph["save"] = make(
        "UncertaintyThresholdsSave", thresholds=["calibrate", 0], filename_prefix="uncertainty/tested_thresholds"
    )
    for number, seed in enumerate((32, 33), start=1):
        graph[sampler]["inputs"]["seed"] = seed
        outputs = run(server.url, graph)
        assert outputs["calibrate"]["text"][0].startswith(f"{number * BATCH} images, {BATCH} of them new")
    (saved,) = outputs["save"]["files"]
    assert saved["filename"] == "tested_thresholds_00002_.safetensors"

    del graph["calibrate"], graph["save"]
    graph["load"] = make("UncertaintyThresholdsLoad", file=listed(saved))
    graph[sampler]["inputs"] |= {"seed": 34, "strength": 1.0, "thresholds": ["load", 0]}
    run(server.url, graph)
    graph[sampler]["inputs"]["samples"] += 1
    with pytest.raises(PromptFailed, match="thresholds were calibrated with other settings .*samples"):
        run(server.url, graph)


def test_custom_sampling_with_options(server: ComfyServer, graph: Graph) -> None:
    """With equal inputs, measuring equals the stock sampler, and guidance by the sampler equals guidance by the model."""
    ksampler = inputs(graph, "UncertaintyKSampler")
    vae, batch = inputs(graph, "VAEDecode")["vae"], 2
    inputs(graph, "EmptyLatentImage")["batch_size"] = batch
    choices = {"estimator": "control_variate", "gradient": "auto", "direction": "descend", "mask_scope": "image"}
    measure = {"samples": 3, "percentile": 90.0, "window_start": 0.5, "window_end": 0.7, "options": ["options", 0]}
    prompts = {"positive": ksampler["positive"], "negative": ksampler["negative"], "cfg": 3.0}
    schedule = {"scheduler": "normal", "steps": 8, "denoise": 1.0}
    run_with = {"noise": ["noise", 0], "guider": ["guider", 0], "sampler": ["euler", 0], "sigmas": ["schedule", 0]}
    run_with["latent_image"] = ksampler["latent_image"]
    loaders = ("UncertaintyDemoModel", "CLIPTextEncode", "EmptyLatentImage")
    custom: Graph = {number: node for number, node in graph.items() if node["class_type"] in loaders}
    custom |= {
        "noise": make("RandomNoise", noise_seed=41),
        "euler": make("KSamplerSelect", sampler_name="euler"),
        "schedule": make("BasicScheduler", model=ksampler["model"], **schedule),
        "options": make("UncertaintyOptions", **choices, mask_side="high", score_source="conditional", max_batch=4),
        "guider": make("CFGGuider", model=ksampler["model"], **prompts),
        "guidance": make("UncertaintyGuidance", model=ksampler["model"], strength=10.0, **measure),
        "guider of guidance": make("CFGGuider", model=["guidance", 0], **prompts),
        "measured": make("UncertaintySamplerCustom", **run_with, strength=0.0, **measure),
        "guided": make("UncertaintySamplerCustom", **run_with, strength=10.0, **measure),
        "stock": make("SamplerCustomAdvanced", **run_with),
        "patched": make("SamplerCustomAdvanced", **run_with | {"guider": ["guider of guidance", 0]}),
        "saved map": make("UncertaintyMapSave", uncertainty=["measured", 2], filename_prefix="uncertainty/custom"),
        "scores": make("PreviewAny", source=["measured", 3]),
    }
    names = ("measured", "guided", "stock", "patched")
    for name in names:
        for number, output in enumerate(("output", "denoised")):
            custom[f"{name} {output} decoded"] = make("VAEDecode", samples=[name, number], vae=vae)
            shown = {"images": [f"{name} {output} decoded", 0], "filename_prefix": f"uncertainty/{name} {output}"}
            custom[f"{name} {output} saved"] = make("SaveImage", **shown)
    steps: dict[str, list[tuple[int, int]]] = {}
    outputs = run(server.url, custom, lambda node, value, maximum: steps.setdefault(node, []).append((value, maximum)))
    for output in ("output", "denoised"):
        measured, guided, stock, patched = (pixels(server, custom, outputs, f"uncertainty/{name} {output}") for name in names)
        assert measured.shape == (batch, SIDE, SIDE, 3)
        assert np.array_equal(measured, stock)
        assert np.array_equal(guided, patched)
        assert not np.array_equal(guided, measured)
    assert all(steps[name][-1] == (8, 8) for name in names)
    if comfyui() == BUNDLED:  # other versions drop events that follow too fast
        assert steps["measured"] == steps["guided"] == steps["patched"] == steps["stock"]
    assert all(math.isfinite(float(score)) for score in outputs["scores"]["text"]) and outputs["scores"]["text"]
    look: Graph = {"load": make("UncertaintyMapLoad", file=listed(outputs["saved map"]["files"][0]))}
    look["plot"] = make("UncertaintyPlot", uncertainty=["load", 0])
    look["saved plot"] = make("SaveImage", images=["plot", 0], filename_prefix="uncertainty/custom plot")
    assert pixels(server, look, run(server.url, look), "uncertainty/custom plot").std() > 10


@pytest.mark.parametrize(
    ("class_type", "values", "words"),
    [
        ("UncertaintyCalibrate", {"name": "../x", "percentile": 95.0}, ["name", "output/uncertainty", "'../x'"]),
        ("UncertaintyCalibrate", {"name": "x", "percentile": 101.0}, ["percentile", "bigger than max of 100"]),
        (
            "UncertaintyToMask",
            {"quantity": "denoised_variance", "percentile": 90.0, "grow": 0, "feather": 0, "steps": "48-45"},
            ["steps", "'48-45'", "45-48"],
        ),
        (
            "UncertaintyOptions",
            {
                "estimator": "filtered",
                "gradient": "backward",
                "direction": "ascend",
                "mask_scope": "image",
                "mask_side": "high",
                "score_source": "guided",
                "max_batch": 0,
            },
            ["gradient", "'backward'", "forward_only"],
        ),
        ("UncertaintyMapLoad", {"file": "none.safetensors"}, ["file", "'none.safetensors'", "choose one from the list"]),
        ("UncertaintyThresholdsLoad", {"file": "none.safetensors"}, ["file", "'none.safetensors'", "choose one from the list"]),
    ],
)
def test_bad_value_of_an_added_node_is_refused_by_name(
    server: ComfyServer, graph: Graph, class_type: str, values: dict, words: list[str]
) -> None:
    sampler = node_with(graph, "UncertaintyKSampler")
    links = {} if "file" in values else {"uncertainty": [sampler, 1]}
    graph["added"] = make(class_type, **values, **links)
    graph["shown"] = make("PreviewAny", source=["added", 0])
    message = refused(server, graph, "added")
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize(
    ("node", "name", "value", "words"),
    [
        ("UncertaintyKSampler", "samples", -1, ["samples", "smaller than min of 0"]),
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
        ("UncertaintyDemoModel", "checkpoint", "x", ["checkpoint", "'x'", "demo model"]),
        ("UncertaintyScoreFilter", "mode", "x", ["mode", "'x'", "keep_best"]),
        ("UncertaintyScoreFilter", "window_end", 0.0, ["window_start", "window_end", "0.0"]),
        ("UncertaintyScoreFilter", "keep", 0, ["keep", "smaller than min of 1"]),
        ("UncertaintyScoreFilter", "by_hand", "3", ["by_hand", '{"keep": [0, 3], "reject": [5]}', "got a int"]),
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
    message = refused(server, graph, node_with(graph, node))
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("node", NODES)
def test_help_page_is_served(server: ComfyServer, node: str) -> None:
    assert get(server.url, f"/extensions/uncertainty-sampling/docs/{node}.md").startswith(b"# ")


def test_example_workflows_are_offered_as_templates(server: ComfyServer) -> None:
    offered = json.loads(get(server.url, "/workflow_templates"))["uncertainty-sampling"]
    assert sorted(offered) == sorted(file.stem for file in (ROOT / "example_workflows").glob("*.json"))
