"""A user's graph, made ready to be measured."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from described_nodes import describe
from uncertainty_runs.evaluation import guidance_protocol
from uncertainty_runs.node_info import NodeError, NodeInfo, no_such_node
from uncertainty_runs.workflow import MAP, SAVE, Workflow, WorkflowError

KSAMPLER: dict[str, dict[str, Any]] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "any.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["1", 1]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["1", 1]}},
    "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 4}},
    "5": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 7, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "model": ["1", 0],
            "positive": ["8", 0], "negative": ["3", 0], "latent_image": ["4", 0],
        },
    },
    "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
    "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "x"}},
    "8": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["2", 0], "guidance": 3.5}},
}  # fmt: skip

CUSTOM: dict[str, dict[str, Any]] = {
    "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "any.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["9", 0]}},
    "3": {"class_type": "BasicGuider", "inputs": {"model": ["1", 0], "conditioning": ["2", 0]}},
    "4": {"class_type": "RandomNoise", "inputs": {"noise_seed": 7}},
    "5": {"class_type": "BasicScheduler", "inputs": {"model": ["1", 0], "steps": 20, "denoise": 1.0, "scheduler": "simple"}},
    "6": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
    "7": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 2}},
    "8": {
        "class_type": "SamplerCustomAdvanced",
        "inputs": {"noise": ["4", 0], "guider": ["3", 0], "sampler": ["6", 0], "sigmas": ["5", 0], "latent_image": ["7", 0]},
    },
    "9": {"class_type": "CLIPLoader", "inputs": {"clip_name": "any.safetensors", "type": "flux"}},
    "10": {"class_type": "VAELoader", "inputs": {"vae_name": "any.safetensors"}},
    "11": {"class_type": "VAEDecode", "inputs": {"samples": ["8", 0], "vae": ["10", 0]}},
    "12": {"class_type": "PreviewImage", "inputs": {"images": ["11", 0]}},
}


def test_a_plain_sampler_becomes_its_measuring_twin() -> None:
    workflow = Workflow(KSAMPLER, describe)
    assert workflow.graph["5"]["class_type"] == "UncertaintyKSampler"
    assert workflow.inputs["strength"] == 0.0
    assert workflow.inputs["steps"] == 20
    assert KSAMPLER["5"]["class_type"] == "KSampler"


def test_what_the_twin_has_more_of_gets_the_defaults_of_the_running_comfyui() -> None:
    def changed(class_type: str) -> NodeInfo:
        inputs = describe(class_type).inputs
        if class_type == "UncertaintyKSampler":
            inputs = inputs | {"samples": replace(inputs["samples"], default=9)}
        return replace(describe(class_type), inputs=inputs)

    plain = KSAMPLER["5"]["inputs"]
    added = {"strength": 0.0, "percentile": 95.0, "window_start": 0.3, "window_end": 0.32}
    assert Workflow(KSAMPLER, describe).inputs == plain | added | {"samples": 5}
    assert Workflow(KSAMPLER, changed).inputs == plain | added | {"samples": 9}


def test_the_place_of_an_output_is_asked_for() -> None:
    def changed(class_type: str) -> NodeInfo:
        described = describe(class_type)
        return replace(described, outputs=described.outputs[::-1])

    assert Workflow(KSAMPLER, describe).saving()[SAVE]["inputs"]["uncertainty"] == ["5", 1]
    assert Workflow(CUSTOM, changed).saving()[SAVE]["inputs"]["uncertainty"] == ["8", 1]


def test_a_node_that_comfyui_lacks_is_named() -> None:
    def without_pack(class_type: str) -> NodeInfo:
        if class_type.startswith("Uncertainty"):
            raise no_such_node(class_type)
        return describe(class_type)

    with pytest.raises(NodeError, match="ComfyUI has no node UncertaintyKSampler: install the node pack"):
        Workflow(KSAMPLER, without_pack)
    old = replace(describe("UncertaintyKSampler"), outputs=("LATENT",))
    with pytest.raises(NodeError, match="UncertaintyKSampler has no output of type UNCERTAINTY"):
        old.output("UNCERTAINTY")


def test_choices_of_both_kinds_of_nodes_have_their_defaults() -> None:
    inputs = {
        "required": {"old": (["a", "b"],), "new": ("COMBO", {"options": ["c", "d"], "default": "d"}), "model": ("MODEL",)},
        "optional": {"more": ("INT", {"default": 3, "max": 7})},
    }
    described = NodeInfo.of("Node", inputs, [["x", "y"], "MODEL"])
    assert described.defaults() == {"old": "a", "new": "d"}
    assert described.inputs["old"].type == described.inputs["new"].type == "COMBO"
    assert (described.inputs["more"].required, described.inputs["more"].maximum) == (False, 7)
    assert described.outputs == ("COMBO", "MODEL")


def test_the_arms_of_guidance() -> None:
    arms = {arm.name: arm for arm in guidance_protocol.arms(Workflow(KSAMPLER, describe))}
    assert arms["PAG"].special == "ComfyUI's PAG, scale 3"
    assert arms["SAG"].special == "ComfyUI's SAG, scale 0.5"
    assert arms["SAG"].workflow.graph["evaluation SelfAttentionGuidance"]["inputs"] == {
        "model": ["1", 0], "scale": 0.5, "blur_sigma": 2.0,
    }  # fmt: skip
    assert arms["60 steps"].workflow.steps() == 60  # 2 of 20 steps are late: 2 * 5 probes of 4 calls each
    assert len(arms) == 1 + 12 + 2 + 6 + 6 + 2 + 2 + 1 + 2


def test_what_a_protocol_reads_and_changes() -> None:
    workflow = Workflow(KSAMPLER, describe)
    assert (workflow.prompt(), workflow.batch_size(), workflow.steps()) == ("a fox", 4, 20)
    graph = workflow.drawing("a cat", 9, 16).graph
    assert (graph["2"]["inputs"]["text"], graph["3"]["inputs"]["text"]) == ("a cat", "blurry")
    assert (graph["5"]["inputs"]["seed"], graph["4"]["inputs"]["batch_size"]) == (9, 16)
    assert workflow.prompt() == "a fox"


def test_a_custom_sampler_has_its_values_elsewhere() -> None:
    workflow = Workflow(CUSTOM, describe)
    assert (workflow.prompt(), workflow.batch_size(), workflow.steps()) == ("a fox", 2, 20)
    changed = workflow.drawing("a cat", 9).with_steps(30).with_denoise(0.5).through("PerturbedAttentionGuidance")
    assert changed.graph["4"]["inputs"]["noise_seed"] == 9
    assert changed.graph["5"]["inputs"] | {"model": 0} == {"model": 0, "steps": 30, "denoise": 0.5, "scheduler": "simple"}
    assert changed.graph["3"]["inputs"]["model"] == ["evaluation PerturbedAttentionGuidance", 0]
    assert changed.graph["evaluation PerturbedAttentionGuidance"]["inputs"] == {"model": ["1", 0], "scale": 3.0}
    assert changed.saving()[SAVE]["inputs"]["uncertainty"] == ["8", 2]


def test_only_what_is_needed_is_run() -> None:
    graph = Workflow(KSAMPLER, describe).saving()
    assert set(graph) == {"1", "2", "3", "4", "5", "6", "8", SAVE}
    assert graph[SAVE]["inputs"]["images"] == ["6", 0]
    assert set(Workflow(KSAMPLER, describe).saving(maps=True)) - set(graph) == {MAP}


def test_extra_scores_of_the_map_are_saved_with_it() -> None:
    def adding(after: list[Any], scores: str) -> dict[str, Any]:
        inputs = {"uncertainty": after, "scores": [scores, 0], "name": scores, "better": "higher"}
        return {"class_type": "UncertaintyExtraScore", "inputs": inputs}

    measuring = Workflow(KSAMPLER, describe).graph
    graders = {name: {"class_type": "Grader", "inputs": {"images": ["6", 0]}} for name in ("one", "two")}
    graph = measuring | graders | {"9": adding(["5", 1], "one"), "10": adding(["9", 0], "two")}
    saving = Workflow(graph, describe).saving(maps=True)
    assert saving[SAVE]["inputs"]["uncertainty"] == saving[MAP]["inputs"]["uncertainty"] == ["10", 0]
    assert {"one", "two", "9"} <= set(saving)
    beside = graph | {"10": adding(["5", 1], "two")}
    with pytest.raises(
        WorkflowError, match="UncertaintyExtraScore nodes 9 and 10 add scores to the same map: connect the second"
    ):
        Workflow(beside, describe).saving()


def test_options_are_chained_and_own_ones_kept() -> None:
    graph = copy.deepcopy(KSAMPLER)
    graph["o"] = {"class_type": "UncertaintyOptions", "inputs": {"estimator": "paper", "mask_side": "high"}}
    graph["5"]["class_type"] = "UncertaintyKSampler"
    graph["5"]["inputs"]["options"] = ["o", 0]
    changed = Workflow(graph, describe).measuring(mc_dropout=True).with_options(mask_side="low")
    baselines = changed.graph[changed.inputs["options"][0]]
    assert baselines["inputs"]["mc_dropout"] is True
    assert changed.graph[baselines["inputs"]["options"][0]]["inputs"] == {"estimator": "paper", "mask_side": "low"}
    again = changed.measuring(control="random_mask")
    assert again.graph[again.inputs["options"][0]]["inputs"]["mc_dropout"] is True


def test_a_picture_takes_the_place_of_an_empty_latent() -> None:
    graph = Workflow(KSAMPLER, describe).from_picture("folder/cat.png", 8).saving()
    assert "4" not in graph
    repeat = graph[graph["5"]["inputs"]["latent_image"][0]]
    assert repeat["inputs"]["amount"] == 8
    encoder = graph[repeat["inputs"]["samples"][0]]
    assert encoder["inputs"]["vae"] == ["1", 2]
    assert graph[encoder["inputs"]["pixels"][0]]["inputs"]["image"] == "folder/cat.png"
    with pytest.raises(WorkflowError, match="count must be at most 64"):
        Workflow(KSAMPLER, describe).from_picture("folder/cat.png", 65)


def without(*numbers: str) -> dict[str, dict[str, Any]]:
    return {number: node for number, node in KSAMPLER.items() if number not in numbers}


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (without("5", "6", "7"), "no sampler that can be measured (KSampler, SamplerCustomAdvanced, KSamplerAdvanced, "),
        (without("6", "7"), "no VAE Decode is connected to the sampler's first output"),
        (KSAMPLER | {"2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["9", 0], "clip": ["1", 1]}}, "9": {
            "class_type": "Wildcards", "inputs": {}}}, "no node before the sampler's positive has a text that can be set"),
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated_is_said(graph: dict[str, dict[str, Any]], words: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        Workflow(graph, describe).drawing("a cat", 1).saving()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps({"nodes": [], "links": []}), "Export (API)"),
        ("no json", "is not JSON"),
        ("[" * 100_000, "nested"),
        (json.dumps([1, 2]), "is not a workflow in API format"),
        (
            json.dumps(without("2")),
            "is incomplete: input conditioning of node 8 is connected to node 2, which is not in the file",
        ),
    ],
)
def test_a_file_that_is_no_graph(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "workflow.json"
    path.write_text(content)
    with pytest.raises(WorkflowError, match="^workflow.json") as caught:
        Workflow.read(path, describe)
    assert words in str(caught.value)
