"""``batch --draw N --finish M``: the finished images are the full run's own, and the best by the early measurement."""

from typing import Any

import pytest
from test_taken_workflows import SCHEDULE, advanced, facts_of, node, workflow

from uncertainty.window import Window
from uncertainty_runs.early_culling import PART, _in_the_rest

SCRIPT = """
import json, sys
from pathlib import Path
from uncertainty_runs.early_culling import CHOICE
from uncertainty_runs.engines.in_process import Renderer
from uncertainty_runs.plan import Plan
from uncertainty_runs.workflow import Workflow

comfyui, base, workflows, output = map(Path, sys.argv[1:])
sys.argv = sys.argv[:1]
renderer = Renderer(comfyui, ("--base-directory", str(base)))

class Grab:
    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE, INPUT_IS_LIST, seen = "test", "grab", (), True, True, []
    INPUT_TYPES = classmethod(lambda cls: {"required": {"scores": ("FLOAT", {"forceInput": True})}})

    def grab(self, scores):
        self.seen[:] = scores
        return {}

renderer.comfy.classes["Grab"] = Grab
facts = {}
for name, graph in json.loads(workflows.read_text(encoding="utf-8")).items():
    try:
        plain = Workflow(graph, renderer.describe)
        (images, _), = renderer._results(Plan(plain, ["pizza"], 7, 1, 6)[0])
        plan = Plan(plain.finishing(2), ["pizza"], 7, 1, 2, drawn=6)
        (finished, measured), = renderer._results(plan[0])
        renderer.comfy.run(plan[0].graph | {"grab": {"class_type": "Grab", "inputs": {"scores": [CHOICE, 7]}}})
        rows = renderer.sample(plan[0], output / name)().keep(output / name)
        facts[name] = {
            "scores": list(Grab.seen),
            "places": list(measured.places),
            "files": [(output / name / row.image.name).is_file() for row in rows],
            "away": [float((image - images[place]).abs().max()) for image, place in zip(finished, measured.places)],
            "steps": [list(measured.steps), measured.total_steps],
        }
    except (RuntimeError, ValueError) as error:
        facts[name] = {"error": str(error)}
print("facts", json.dumps(facts))
"""

SAMPLED = {"steps": 10}
FLOW = {"model": {"family": "rectified flow"}}
CUSTOM = node(
    "SamplerCustomAdvanced", noise=["noise", 0], guider=["guider", 0], sampler=["kind", 0], sigmas=["schedule", 0],
    latent_image=["empty", 0],
)  # fmt: skip
WORKFLOWS = {
    "ordinary": workflow(sampler=SAMPLED),
    "flow": workflow(sampler=SAMPLED, **FLOW),
    "advanced": workflow(sampler=advanced(steps=10)),
    "custom": workflow(
        sampler=CUSTOM,
        noise=node("RandomNoise", noise_seed=7),
        guider=node("CFGGuider", model=["model", 0], positive=["yes", 0], negative=["no", 0], cfg=3.0),
        kind=node("KSamplerSelect", sampler_name="euler"),
        schedule={**SCHEDULE, "inputs": SCHEDULE["inputs"] | {"steps": 10}},
    ),
    "one step": workflow(sampler={"steps": 1}),
    "another schedule": workflow(sampler={"steps": 10, "sampler_name": "uni_pc"}),
}


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return facts_of(SCRIPT, WORKFLOWS, tmp_path_factory.mktemp("culled early"))


@pytest.mark.parametrize("name", ["ordinary", "flow", "advanced", "custom"])
def test_the_best_by_the_early_measurement_are_finished_as_in_a_full_run(name: str, facts: dict[str, Any]) -> None:
    found = facts[name]
    assert "error" not in found, found
    best = sorted(sorted(range(6), key=lambda place: found["scores"][place])[:2])
    assert found["places"] == best and found["files"] == [True, True]
    assert max(found["away"]) < 1e-3  # sums in smaller batches round differently
    # The default window of ten steps is step 3, which is the first of the seven that are left.
    assert found["steps"] == [[0], 7]


@pytest.mark.parametrize("window", [(0.30, 0.32), (0.90, 0.98), (0.0, 0.1), (0.2, 0.5)])
def test_the_window_of_the_whole_schedule_is_that_of_the_rest(window: tuple[float, float]) -> None:
    for steps in range(2, 61):
        first = max(1, round(PART * steps))
        rest = _in_the_rest(dict(zip(("window_start", "window_end"), window, strict=True)), first, steps)
        wanted = [step - first for step in Window(*window).steps(steps) if step >= first] or [0]
        assert (
            list(Window(**{name.removeprefix("window_"): value for name, value in rest.items()}).steps(steps - first)) == wanted
        )


def test_schedules_that_cannot_be_split_are_refused(facts: dict[str, Any]) -> None:
    assert "at least 2 steps, but the workflow has 1" in facts["one step"]["error"]
    assert "cannot be split with sampler_name 'uni_pc'" in facts["another schedule"]["error"]
