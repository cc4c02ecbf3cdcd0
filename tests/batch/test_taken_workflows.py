"""Workflows as people have them, run by a real ComfyUI: no image is lost, and what replaces a sampler makes the same image."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dev.bootstrap import ROOT, comfyui, prepare_base

SCRIPT = """
import json, sys
from pathlib import Path
from uncertainty_runs.engines.in_process import Renderer
from uncertainty_runs.plan import Plan
from uncertainty_runs.workflow import Workflow

comfyui, base, workflows, output = map(Path, sys.argv[1:])
sys.argv = sys.argv[:1]
renderer = Renderer(comfyui, ("--base-directory", str(base)))

class Grab:
    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE, images = "test", "grab", (), True, []
    INPUT_TYPES = classmethod(lambda cls: {"required": {"images": ("IMAGE",)}})

    def grab(self, images):
        self.images.append(images)
        return {}

renderer.comfy.classes["Grab"] = Grab
facts = {}
for name, graph in json.loads(workflows.read_text(encoding="utf-8")).items():
    try:
        plan = Plan(Workflow(graph, renderer.describe), ["pizza"], 7, 1, 2, maps=name.endswith("maps"))
        rows = renderer.sample(plan[0], output / name)().keep(output / name)
        ids = [row.flat()["id"] for row in rows]
        facts[name] = {"ids": ids, "files": [(output / name / row.image.name).is_file() for row in rows]}
        if "scored" in name:
            facts[name] |= {"scores": [[row.flat()[kind] for kind in ("drift", "extra_scores")] for row in rows]}
        if "own" in name:
            (measured, _), = renderer._results(plan[0])
            Grab.images.clear()
            renderer.comfy.run(graph | {"grab": {"class_type": "Grab", "inputs": {"images": ["decode", 0]}}})
            facts[name]["same"] = bool((Grab.images[0] == measured).all())
    except (RuntimeError, ValueError) as error:
        facts[name] = {"error": str(error)}
print("facts", json.dumps(facts))
"""


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def workflow(**nodes: Any) -> dict[str, Any]:
    """The demo model with one sampler, and other nodes."""
    sampler = {"cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "steps": 6, "model": ["model", 0]}
    conditions = {"positive": ["yes", 0], "negative": ["no", 0]}
    graph = {
        "model": node("UncertaintyDemoModel", family="noise prediction", checkpoint="demo model"),
        "yes": node("CLIPTextEncode", text="pizza", clip=["model", 1]),
        "no": node("CLIPTextEncode", text="", clip=["model", 1]),
        "empty": node("EmptyLatentImage", width=256, height=256, batch_size=2),
        "sampler": node("KSampler", **sampler, **conditions, seed=7, denoise=1.0, latent_image=["empty", 0]),
        "decode": node("VAEDecode", samples=["sampler", 0], vae=["model", 2]),
    }
    for name, changed in nodes.items():
        if "class_type" in changed:
            graph[name] = changed
        else:
            graph[name] = {**graph[name], "inputs": graph[name]["inputs"] | changed}
    return graph


def advanced(**inputs: Any) -> dict[str, Any]:
    given = workflow()["sampler"]["inputs"]
    names = ("cfg", "sampler_name", "scheduler", "steps", "model", "positive", "negative", "latent_image")
    stage = {"add_noise": "enable", "noise_seed": 7, "start_at_step": 0, "end_at_step": 10000}
    return node(
        "KSamplerAdvanced", **{name: given[name] for name in names} | stage | {"return_with_leftover_noise": "disable"} | inputs
    )


FIRST = advanced(end_at_step=4, return_with_leftover_noise="enable")
SECOND = advanced(add_noise="disable", start_at_step=4, latent_image=["first", 0])
CUSTOM = node(
    "SamplerCustom", model=["model", 0], add_noise=True, noise_seed=7, cfg=3.0, positive=["yes", 0], negative=["no", 0],
    sampler=["kind", 0], sigmas=["schedule", 0], latent_image=["empty", 0],
)  # fmt: skip
SCHEDULE = node("BasicScheduler", model=["model", 0], scheduler="normal", steps=6, denoise=1.0)
DIVIDED = {"divide": node("RebatchLatents", latents=["empty", 0], batch_size=1), "sampler": {"latent_image": ["divide", 0]}}

GRADED = workflow()["sampler"]["inputs"] | {
    "samples": 2, "strength": 0.0, "percentile": 95.0, "window_start": 0.5, "window_end": 0.9,
}  # fmt: skip
RULE = {
    "mode": "keep_best", "keep": 1, "percentile": 50.0, "threshold": 0.0, "quantity": "drift", "reject": "highest",
    "window_start": 0.0, "window_end": 1.0, "when_none_pass": "block",
}  # fmt: skip

WORKFLOWS = {
    "scored": workflow(
        sampler=node("UncertaintyKSampler", **GRADED),
        filter=node("UncertaintyScoreFilter", uncertainty=["sampler", 1], **RULE),
        extra=node("UncertaintyExtraScore", uncertainty=["sampler", 1], scores=["filter", 7], name="again", better="lower"),
    ),
    "divided": workflow(**DIVIDED),
    "divided maps": workflow(**DIVIDED),
    "repeated": workflow(
        more=node("RepeatLatentBatch", samples=["empty", 0], amount=2), sampler={"latent_image": ["more", 0]}
    ),
    "text by link": workflow(text=node("PrimitiveString", value="cat face"), yes={"text": ["text", 0]}),
    "own KSampler": workflow(),
    "own advanced": workflow(sampler=advanced()),
    "own two stages": workflow(first=FIRST, sampler=SECOND),
    "own stopped early": workflow(sampler=advanced(end_at_step=4, sampler_name="uni_pc")),
    "own custom": workflow(sampler=CUSTOM, kind=node("KSamplerSelect", sampler_name="euler"), schedule=SCHEDULE),
    "own refined": workflow(
        larger=node("LatentUpscale", samples=["sampler", 0], upscale_method="bilinear", width=320, height=320, crop="disabled"),
        again=node("KSampler", **workflow()["sampler"]["inputs"] | {"denoise": 0.5, "latent_image": ["larger", 0]}),
        decode={"samples": ["again", 0]},
        preview=node("VAEDecode", samples=["sampler", 0], vae=["model", 2]),
    ),
}  # fmt: skip


def facts_of(script: str, workflows: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a script prints of workflows that it runs in a ComfyUI of its own."""
    prepare_base(folder / "base")
    (folder / "workflows.json").write_text(json.dumps(workflows), encoding="utf-8")
    paths = (comfyui(), folder / "base", folder / "workflows.json", folder / "output")
    command = [sys.executable, "-c", script, *map(str, paths)]
    environment = os.environ | {"PYTHONPATH": "dev/site"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("facts ")).removeprefix("facts "))


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return facts_of(SCRIPT, WORKFLOWS, tmp_path_factory.mktemp("ordinary"))


def test_lists_lose_no_image(facts: dict[str, Any]) -> None:
    assert facts["divided"] == {"ids": ["0000000_000", "0000000_001"], "files": [True, True]}
    assert "divides the images of a run into 2 batches" in facts["divided maps"]["error"]


def test_extra_scores_of_the_workflow_are_in_the_rows(facts: dict[str, Any]) -> None:
    """The scores of another node, here of the filter, which are those of drift."""
    assert "error" not in facts["scored"], facts["scored"]
    for drift, extra in facts["scored"]["scores"]:
        assert json.loads(extra) == {"again": {"value": pytest.approx(drift), "higher_is_better": False}}


def test_another_number_of_images_is_an_error(facts: dict[str, Any]) -> None:
    assert "run 0 made 4 images, but 2 were planned" in facts["repeated"]["error"]


def test_a_text_by_link_is_run(facts: dict[str, Any]) -> None:
    assert len(facts["text by link"]["ids"]) == 2


@pytest.mark.parametrize("name", [name for name in WORKFLOWS if name.startswith("own")])
def test_images_are_those_of_the_workflow_itself(name: str, facts: dict[str, Any]) -> None:
    assert facts[name] == {"ids": ["0000000_000", "0000000_001"], "files": [True, True], "same": True}
