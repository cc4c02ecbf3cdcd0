"""A run without a map: what was sampled is kept without scores, and the reason is said."""

from typing import Any

import pytest
from test_taken_workflows import facts_of, node, workflow

SCRIPT = """
import json, sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from uncertainty.storage import picture_entry
from uncertainty_runs.drawing import collect, draw
from uncertainty_runs.engines.in_process import Renderer
from uncertainty_runs.engines.one_by_one import OneByOne
from uncertainty_runs.plan import Plan
from uncertainty_runs.rows import Rows
from uncertainty_runs.workflow import Workflow

comfyui, base, workflows, output = map(Path, sys.argv[1:])
sys.argv = sys.argv[:1]
renderer = Renderer(comfyui, ("--base-directory", str(base)))

class Breaks:
    "A model that fails at one of its calls, once."
    CATEGORY, FUNCTION, RETURN_TYPES, calls = "test", "run", ("MODEL",), 0
    INPUT_TYPES = classmethod(lambda cls: {"required": {"model": ("MODEL",), "call": ("INT", {})}})

    def run(self, model, call):
        def network(apply, given):
            Breaks.calls += 1
            if Breaks.calls == call:
                raise ValueError("no luck.")
            return apply(given["input"], given["timestep"], **given["c"])

        patched = model.clone()
        patched.set_model_unet_function_wrapper(network)
        return (patched,)

renderer.comfy.classes["Breaks"] = Breaks
facts = {}
for name, graph in json.loads(workflows.read_text(encoding="utf-8")).items():
    folder, said = output / name, StringIO()
    facts[name] = {}
    Breaks.calls = 0
    try:
        plain = Workflow(graph, renderer.describe)
        if "culled" in name:
            plan = Plan(plain.finishing(1), ["pizza"], 7, 1, 1, drawn=2)
        else:
            plan = Plan(plain, ["pizza", "pizza"] if "twice" in name else ["pizza"], 7, 2, 2, maps="maps" in name)
        with redirect_stderr(said):
            draw(lambda: OneByOne(renderer), plan, folder)
        columns = ("number", "place", "file", "map", "why_no_map", "drift", "digest")
        rows = Rows(folder / "rows").table(columns).to_pylist()
        facts[name]["rows"] = sorted(rows, key=lambda row: (row["number"], row["place"]))
        files = [folder / row["file"] for row in facts[name]["rows"]]
        facts[name]["entries"] = [picture_entry.read(file) is not None for file in files]
        facts[name]["graphs"] = ["decode" in json.loads(picture_entry.text(file, "prompt")) for file in files]
        collect(lambda: 1 / 0, plan, folder)
    except (RuntimeError, ValueError) as error:
        facts[name]["error"] = str(error)
    facts[name]["said"] = said.getvalue()
print("facts", json.dumps(facts))
"""


def breaking(call: int, **sampler: Any) -> dict[str, Any]:
    """A workflow whose model fails once."""
    return workflow(breaks=node("Breaks", model=["model", 0], call=call), sampler={"model": ["breaks", 0]} | sampler)


ADAPTIVE = {"sampler_name": "dpm_adaptive", "steps": 1000}
# After six steps the seventh call of the model is the first probe.
DIVIDED = breaking(7, latent_image=["divide", 0]) | {"divide": node("RebatchLatents", latents=["empty", 0], batch_size=1)}
MEASURING = {"samples": 2, "strength": 0.0, "percentile": 95.0, "window_start": 0.5, "window_end": 0.501}
WORKFLOWS = {
    "one lost with maps": breaking(7),
    "one of a list": DIVIDED,
    "lost twice": breaking(7),
    "past the window": workflow(
        sampler=node("UncertaintyKSampler", **workflow()["sampler"]["inputs"] | ADAPTIVE | MEASURING),
    ),
    "culled": breaking(4, steps=10),
    "culled whole": workflow(),
}


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return facts_of(SCRIPT, WORKFLOWS, tmp_path_factory.mktemp("lost maps"))


def reasons(found: dict[str, Any]) -> list[str | None]:
    return [row["why_no_map"] for row in found["rows"]]


NO_LUCK = "measuring it failed: no luck."


@pytest.mark.parametrize("name", ["one lost with maps", "one of a list"])
def test_images_without_a_map_are_kept_with_the_reason_and_the_batch_goes_on(name: str, facts: dict[str, Any]) -> None:
    found = facts[name]
    assert reasons(found) == [NO_LUCK, NO_LUCK, None, None]
    assert [row["place"] for row in found["rows"]] == [0, 1, 0, 1]
    assert [row["drift"] is None for row in found["rows"]] == [True, True, False, False]
    assert found["entries"] == [False, False, True, True] and all(found["graphs"])  # the files open as workflows
    assert found["said"].count(f"the images of run 0 are kept, but without scores, because {NO_LUCK}") == 1
    if "maps" in name:
        assert [row["map"] is None for row in found["rows"]] == [True, True, False, False]


def test_an_evaluation_needs_scores_and_says_which_image_has_none(facts: dict[str, Any]) -> None:
    error = facts["one of a list"]["error"]
    assert "2 images in " in error and f"such as images/00000/0000000_000.png, because {NO_LUCK} To sample" in error


def test_a_sampler_past_the_window_is_named(facts: dict[str, Any]) -> None:
    said = "no model call fell inside the window. Check which steps are sampled, window_start and window_end, or use a sampler"
    found = facts["past the window"]
    assert [f"{said} other than dpm_adaptive."] * 4 == reasons(found)
    assert found["said"].count(said) == 1


def test_what_comfyui_kept_from_an_earlier_run_is_not_given_a_false_reason(facts: dict[str, Any]) -> None:
    first, second = reasons(facts["lost twice"])[::2]
    assert first == NO_LUCK and "unless an earlier run with the same prompt and seed said it" in second


def test_where_nothing_can_be_chosen_the_run_and_the_reason_are_said(facts: dict[str, Any]) -> None:
    said = f"run 0 (prompt 'pizza', seed 7) gave no images, because {NO_LUCK} Put that right and start the same command again."
    assert facts["culled"]["error"] == said


def test_a_run_leaves_its_graph_as_it_was(facts: dict[str, Any]) -> None:
    """ComfyUI notes in a graph what its nodes say of files; the folder would no longer belong to it."""
    assert "holds images of another workflow" not in str(facts)
    assert "error" not in facts["culled whole"]
