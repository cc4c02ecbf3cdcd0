"""Workflows as people have them: which ``batch`` takes, what it sets in them, and what it says of the others."""

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from test_evaluation_workflow import CUSTOM, KSAMPLER

from described_nodes import describe
from dev.bootstrap import ROOT
from effort import calls
from uncertainty_runs.batch_command import planned
from uncertainty_runs.command_line import parser
from uncertainty_runs.early_culling import FIRST
from uncertainty_runs.engines import http_server
from uncertainty_runs.graph import Graph, nearest, upstream
from uncertainty_runs.plan import Job, Plan
from uncertainty_runs.samplers import GUIDER, NOISE
from uncertainty_runs.workflow import SAVE, Workflow, WorkflowError


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def changed(base: Graph, **nodes: Mapping[str, Any]) -> Graph:
    """Other nodes, or other inputs of nodes; ids are written as n5."""
    graph = copy.deepcopy(base)
    for name, value in nodes.items():
        number = name.removeprefix("n")
        if "class_type" in value:
            graph[number] = dict(value)
        else:
            graph[number]["inputs"] |= value
    return graph


def job(graph: Graph, prompts: tuple[str, ...] | None = ("a cat",), batch: int | None = None) -> Job:
    return Plan(Workflow(graph, describe), prompts, 9, 1, batch)[0]


SDXL = node("CLIPTextEncodeSDXL", clip=["1", 1], width=1024, text_g="a fox", text_l="a fox, photo")
FLUX = node("CLIPTextEncodeFlux", clip=["1", 1], clip_l="", t5xxl="a fox", guidance=3.5)
TEXT_BY_LINK = {"n2": {"text": ["s", 0]}, "ns": node("PrimitiveString", value="a fox")}
SECOND = node("KSampler", **KSAMPLER["5"]["inputs"] | {"seed": 8, "denoise": 0.5, "latent_image": ["up", 0]})
TWO = changed(
    KSAMPLER,
    nup=node("LatentUpscale", samples=["5", 0]),
    nlast=SECOND,
    nshown=node("VAEDecode", samples=["last", 0], vae=["1", 2]),
)
ADVANCED = {
    "add_noise": "disable", "noise_seed": 3, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal",
    "positive": ["8", 0], "negative": ["3", 0], "latent_image": ["5", 0], "model": ["1", 0], "start_at_step": 15,
    "end_at_step": 10000, "return_with_leftover_noise": "disable",
}  # fmt: skip


ALL_OF_CUSTOM = {
    "positive": ["2", 0], "negative": ["3", 0], "model": ["1", 0], "latent_image": ["4", 0], "cfg": 2.0, "noise_seed": 1,
    "sampler": ["k", 0], "sigmas": ["t", 0],
}  # fmt: skip


def test_a_prompt_by_link_is_set_where_it_is_entered() -> None:
    graph = job(changed(KSAMPLER, **TEXT_BY_LINK)).graph
    assert graph["s"]["inputs"]["value"] == "a cat"
    assert graph["2"]["inputs"]["text"] == ["s", 0]
    assert Workflow(changed(KSAMPLER, **TEXT_BY_LINK), describe).prompt() == "a fox"


def test_both_texts_of_sdxl_are_set_and_empty_ones_stay_empty() -> None:
    graph = job(changed(KSAMPLER, n2=SDXL)).graph
    assert (graph["2"]["inputs"]["text_g"], graph["2"]["inputs"]["text_l"]) == ("a cat", "a cat")
    graph = job(changed(KSAMPLER, n2=FLUX)).graph
    assert (graph["2"]["inputs"]["clip_l"], graph["2"]["inputs"]["t5xxl"]) == ("", "a cat")
    empty = changed(KSAMPLER, n2=node("CLIPTextEncodeFlux", clip=["1", 1], clip_l="", t5xxl="", guidance=3.5))
    assert job(empty).graph["2"]["inputs"]["clip_l"] == "a cat"


def test_the_prompts_of_a_node_that_draws_nothing_stay() -> None:
    """Fitting the Laplace approximation takes the captions of real pictures."""
    evidence = json.loads((ROOT / "dev" / "evidence.api.json").read_text())
    graph = job(evidence).graph
    assert (graph["positive"]["inputs"]["text"], graph["captions"]["inputs"]["text"]) == ("a cat", ["real", 1])


def test_the_negative_prompt_stays() -> None:
    control = node("ControlNetApplyAdvanced", positive=["2", 0], negative=["3", 0], image=["p", 0])
    graph = changed(KSAMPLER, n5={"positive": ["c", 0], "negative": ["c", 1]}, nc=control, np=node("LoadImage", image="a.png"))
    inputs = {number: node["inputs"] for number, node in job(graph).graph.items()}
    assert (inputs["2"]["text"], inputs["3"]["text"]) == ("a cat", "blurry")


def test_without_prompts_no_text_is_changed() -> None:
    two = node("ConditioningCombine", conditioning_1=["2", 0], conditioning_2=["t", 0])
    graph = changed(KSAMPLER, n5={"positive": ["c", 0]}, nc=two, nt=node("CLIPTextEncode", text="in snow", clip=["1", 1]))
    made = job(graph, None)
    assert made.prompt == "a fox\nin snow"
    assert (made.graph["2"]["inputs"]["text"], made.graph["t"]["inputs"]["text"]) == ("a fox", "in snow")
    written = changed(KSAMPLER, n2={"text": ["w", 0]}, nw=node("Wildcards"))
    assert job(written, None).prompt == ""
    with pytest.raises(WorkflowError, match=r"\(node 2\) and CLIPTextEncode \(node t\) hold different positive prompts"):
        job(graph)


def test_the_last_sampler_is_measured_and_all_get_the_seed() -> None:
    made = job(TWO)
    assert made.graph[SAVE]["inputs"] | {"filename_prefix": ""} == {
        "images": ["shown", 0], "filename_prefix": "", "uncertainty": ["last", 1],
    }  # fmt: skip
    assert made.graph["5"]["class_type"] == "KSampler" and made.graph["last"]["class_type"] == "UncertaintyKSampler"
    assert made.graph["5"]["inputs"]["seed"] == made.graph["last"]["inputs"]["seed"] == 9
    assert made.images == 4
    by_link = changed(TWO, n5={"seed": ["i", 0]}, nlast={"seed": ["i", 0]}, ni=node("PrimitiveInt", value=1))
    assert job(by_link).graph["5"]["inputs"]["seed"] == 9


def test_samplers_that_do_not_depend_on_one_another_are_refused() -> None:
    with pytest.raises(WorkflowError, match=r"2 samplers that do not depend on one another \(nodes 5, last\)"):
        job(changed(TWO, nlast={"latent_image": ["4", 0]}))


def test_an_advanced_sampler_is_measured() -> None:
    graph = job(changed(TWO, nlast=node("KSamplerAdvanced", **ADVANCED))).graph
    measured = graph["last"]["inputs"]
    assert graph["last"]["class_type"] == "UncertaintyKSamplerAdvanced"
    assert measured["noise_seed"] == 9 and measured["samples"] == 5
    assert measured | ADVANCED | {"noise_seed": 9} == measured
    assert graph["2"]["inputs"]["text"] == "a cat"


def test_steps_of_an_advanced_sampler_are_those_that_it_samples() -> None:
    stage = Workflow(changed(TWO, nlast=node("KSamplerAdvanced", **ADVANCED)), describe)
    assert stage.steps() == 5
    half = stage.with_steps(10).with_denoise(0.5)
    assert half.steps() == 10
    part = {"steps": 20, "start_at_step": 10, "end_at_step": 20, "add_noise": "enable"}
    assert {name: half.inputs[name] for name in part} == part
    finished = stage.finishing(1)
    first = finished.graph[FIRST]["inputs"]
    assert (first["start_at_step"], first["end_at_step"], first["return_with_leftover_noise"]) == (15, 17, "enable")
    rest = {"start_at_step": 17, "end_at_step": 10000, "add_noise": "disable", "return_with_leftover_noise": "disable"}
    assert {name: finished.inputs[name] for name in rest} == rest


def test_custom_samplers_are_measured() -> None:
    custom = node("SamplerCustom", **ALL_OF_CUSTOM, add_noise=True)
    graph = job(changed(KSAMPLER, n5=custom, nk=node("KSamplerSelect"), nt=node("BasicScheduler"))).graph
    assert graph["5"]["inputs"]["sigmas"] == ["t", 0] and graph["5"]["inputs"]["guider"] == [GUIDER, 0]
    assert graph[NOISE]["inputs"]["noise_seed"] == 9
    assert job(changed(CUSTOM, n11={"samples": ["8", 1]})).graph[SAVE]["inputs"]["images"] == ["11", 0]


def test_a_number_of_images_by_link_is_replaced() -> None:
    graph = changed(KSAMPLER, n4={"batch_size": ["b", 0]}, nb=node("PrimitiveInt", value=3))
    assert (job(graph).images, job(graph, batch=1).images) == (3, 1)
    assert job(graph, batch=1).graph["4"]["inputs"]["batch_size"] == 1
    unknown = changed(graph, nb=node("Counter", a=1, b=2))
    assert job(unknown, batch=1).graph["4"]["inputs"]["batch_size"] == 1
    with pytest.raises(WorkflowError, match=r"batch_size of node 4 comes from Counter \(node b\): say with --batch"):
        job(unknown)


def test_nodes_that_only_divide_latents_do_not_make_them() -> None:
    graph = changed(KSAMPLER, n5={"latent_image": ["r", 0]}, nr=node("RebatchLatents", latents=["4", 0], batch_size=1))
    made = job(graph, batch=2)
    assert made.images == 2
    assert (made.graph["4"]["inputs"]["batch_size"], made.graph["r"]["inputs"]["batch_size"]) == (2, 1)


def test_a_run_that_starts_from_a_picture_makes_one_image() -> None:
    picture = node("VAEEncode", pixels=["p", 0], vae=["1", 2])
    graph = changed(KSAMPLER, n5={"latent_image": ["e", 0]}, ne=picture, np=node("LoadImage", image="a.png"))
    assert job(graph).images == 1
    with pytest.raises(RuntimeError, match="run 0 made 1 images, but 3 were planned"):
        job(graph, batch=3).check(1)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (changed(KSAMPLER, n2={"text": ["w", 0]}, nw=node("StringConcatenate", string_a="a", string_b="b", delimiter="")),
         "that of CLIPTextEncode (node 2) comes from StringConcatenate (node w). Enter it in CLIPTextEncode (node 2)"),
        (changed(KSAMPLER, n2={"text": ["w", 0]}, nw=node("LoadTextFile", path="x.txt")), "comes from LoadTextFile (node w)"),
        (changed(TWO, nlast=node("SamplerCustom", latent_image=["5", 0])), "SamplerCustom (node last) lacks its input model"),
        (changed(KSAMPLER, n5=node("SamplerCustom", **ALL_OF_CUSTOM | {"sampler": 0, "sigmas": 0, "add_noise": 1})),
         "add_noise of node 5 must be"),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_said(graph: Graph, words: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        job(graph)
    assert words in str(caught.value)


def test_a_cycle_of_texts_ends() -> None:
    graph = changed(KSAMPLER, n2={"text": ["s", 0]}, ns=node("PrimitiveString", value=["s", 0]))
    with pytest.raises(WorkflowError, match="has a text that can be set"):
        job(graph)


def chain(length: int, links: int) -> Graph:
    """A workflow whose conditions pass through ``length`` nodes, each connected ``links`` times to the one before."""
    graph = copy.deepcopy(KSAMPLER)
    names = [f"conditioning_{link}" for link in range(links)]
    for index in range(length):
        before = ["2", 0] if index == 0 else [f"c{index - 1}", 0]
        graph[f"c{index}"] = node("ConditioningCombine", **dict.fromkeys(names, before))
    graph["5"]["inputs"]["positive"] = [f"c{length - 1}", 0]
    return graph


def test_chains_of_double_links_are_walked_once() -> None:
    graph = chain(60, 2)
    assert len(list(nearest(graph, ["5"]))) == len(upstream(graph, ["5"])) == 60 + 5
    assert job(graph).graph["2"]["inputs"]["text"] == "a cat"


def test_a_large_workflow_is_walked_a_few_times_and_not_for_each_job() -> None:
    def cost(nodes: int) -> tuple[int, int]:
        """Calls to make a plan, and to make its jobs."""
        graph, plans, texts = chain(nodes, 2), list[Plan](), list[str]()
        planning = calls(lambda: plans.append(Plan(Workflow(graph, describe), ["a cat", "a dog"], 0, 100)))
        jobs = calls(lambda: texts.extend(job.graph["2"]["inputs"]["text"] for job in plans[0]))
        assert texts[:2] == ["a cat", "a dog"]
        return planning, jobs

    few, many = cost(1000), cost(10_000)
    assert many[0] < 11 * few[0]
    assert many[1] == few[1]


def test_jobs_do_not_change_what_they_share() -> None:
    original = copy.deepcopy(TWO)
    plan = Plan(Workflow(TWO, describe), ["a cat", "a dog"], 3, 4)
    before = json.dumps(plan[0].graph)
    http_server._own_prefixes(plan[1].graph, Path("a", "b"))
    assert original == TWO
    assert json.dumps(plan[0].graph) == before


def test_the_command_plans_the_number_of_images(tmp_path: Path) -> None:
    graph = changed(KSAMPLER, n4={"batch_size": ["b", 0]}, nb=node("PrimitiveInt", value=3))
    (tmp_path / "w.json").write_text(json.dumps(graph), encoding="utf-8")
    line = ["batch", "--workflow", str(tmp_path / "w.json"), "--output", str(tmp_path), "--count", "5", "--batch", "1"]
    assert len(planned(parser().parse_args(line), describe)) == 5


MEASURING = {"samples": 5, "window_start": 0.3, "window_end": 0.32}
RECORDED = changed(
    TWO,
    nr=node("UncertaintyRecord", model=["1", 0], **MEASURING),
    nagain=node("UncertaintyRecord", model=["r", 0], **MEASURING),
    n5={"model": ["again", 0]},
    nlast={"model": ["again", 0]},
    ncollect=node("UncertaintyCollect", recording=["again", 1], after=["last", 0]),
)


def test_a_recorded_model_is_not_measured_twice() -> None:
    graph = job(RECORDED).graph
    assert not [number for number, node in graph.items() if node["class_type"] in ("UncertaintyRecord", "UncertaintyCollect")]
    assert graph == job(TWO).graph  # the earlier sampler is not measured either


def test_a_recording_that_the_images_depend_on_is_kept() -> None:
    masked = changed(
        RECORDED,
        nfirst=node("UncertaintyCollect", recording=["r", 1], after=["5", 0]),
        nmask=node("UncertaintyMapToMask", uncertainty=["first", 0]),
        nup=node("SetLatentNoiseMask", samples=["5", 0], mask=["mask", 0]),
    )
    graph = job(masked).graph
    assert {"r", "first", "mask"} <= graph.keys() and not {"again", "collect"} & graph.keys()
    assert graph["last"]["inputs"]["model"] == graph["5"]["inputs"]["model"] == ["r", 0]


def test_recorders_in_a_circle_are_left_to_comfyui() -> None:
    circle = changed(RECORDED, nr={"model": ["again", 0]})
    assert "UncertaintyRecord" in [node["class_type"] for node in job(circle).graph.values()]


STAGE = node("KSamplerAdvanced", **ADVANCED | {"latent_image": ["4", 0]})


@pytest.mark.parametrize(("start", "end"), [(8, 5), (5, 5), (20, 10000), (25, 10000)])
def test_a_stage_without_steps_is_refused_with_its_numbers(start: int, end: int) -> None:
    graph = changed(KSAMPLER, n5=node("KSamplerAdvanced", **STAGE["inputs"] | {"start_at_step": start, "end_at_step": end}))
    said = (
        f"the sampler (node 5) has no steps, with start_at_step {start}, end_at_step {end}, steps 20: set "
        "start_at_step below end_at_step and below steps."
    )
    with pytest.raises(WorkflowError, match=re.escape(said)):
        Workflow(graph, describe)


def test_a_stage_whose_numbers_are_connected_is_not_refused() -> None:
    linked = {
        "n5": node("KSamplerAdvanced", **STAGE["inputs"] | {"start_at_step": ["s", 0]}),
        "ns": node("PrimitiveInt", value=3),
    }
    assert Workflow(changed(KSAMPLER, **linked), describe).inputs["start_at_step"] == ["s", 0]


def test_a_sampler_that_leaves_the_latents_as_they_are_is_refused() -> None:
    with pytest.raises(WorkflowError, match=r"denoise of the sampler \(node 5\) is 0, so it has no steps"):
        Workflow(changed(KSAMPLER, n5={"denoise": 0.0}), describe)


@pytest.mark.parametrize("name", ["length", "video_frames"])
def test_videos_are_refused_before_anything_is_sampled(name: str) -> None:
    video = {"width": 64, "height": 64, "batch_size": 1}
    graph = changed(KSAMPLER, n4=node("EmptyHunyuanLatentVideo", **video, **{name: 25}))
    said = rf"{name} of EmptyHunyuanLatentVideo \(node 4\) is 25, which makes videos, .*: set {name} to 1\."
    with pytest.raises(WorkflowError, match=said):
        job(graph)
    assert job(changed(graph, n4={name: 1})).images == 1
