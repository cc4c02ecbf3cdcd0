"""ComfyUI in the process of a command: it shares the command's classes, and says what it is asked for."""

import json
import os
import subprocess
import sys

import pytest

from dev.bootstrap import ROOT, comfyui, prepare_base

SCRIPT = """
import json, sys
from pathlib import Path
import uncertainty
from uncertainty_runs.engines.in_process import Catch, Renderer
from uncertainty_runs.plan import Plan
from uncertainty_runs.workflow import MAP, Workflow

comfyui, base, workflow, output = map(Path, sys.argv[1:])
sys.argv = sys.argv[:1]
renderer = Renderer(comfyui, ("--base-directory", str(base)))
plan = Plan(Workflow.read(workflow, renderer.describe), ["cat face"], 1, 1, 1, maps=True)
((images, measured),) = renderer._results(plan[0])
rows = renderer.sample(plan[0], output)().keep(output)

copies = {}
for name, module in sys.modules.items():
    if getattr(module, "__file__", None) and "uncertainty" in Path(module.__file__).parts:
        copies.setdefault(module.__file__, set()).add(id(module))
loaded = [name for name in sys.modules if name.endswith(".uncertainty.maps")]
facts = {
    "is_instance": isinstance(measured, uncertainty.UncertaintyMap),
    "twice": sorted(file for file, modules in copies.items() if len(modules) > 1),
    "modules": len(copies),
    "names": [sys.modules[name].__name__ for name in loaded],
    "described": [renderer.describe(name).defaults() for name in ("UncertaintyOptions", "PerturbedAttentionGuidance")],
    "most": renderer.describe("RepeatLatentBatch").inputs["amount"].maximum,
    "added": plan.workflow.inputs["samples"],
    "rows": len(rows),
}
print("facts", json.dumps(facts))
"""


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("in process")
    prepare_base(folder / "base")
    graph = json.loads((ROOT / "dev" / "best_of_16.api.json").read_text())
    graph["4"]["inputs"] |= {"width": 256, "height": 256}
    plain = ("seed", "cfg", "sampler_name", "scheduler", "denoise", "model", "positive", "negative", "latent_image")
    graph["5"] = {"class_type": "KSampler", "inputs": {name: graph["5"]["inputs"][name] for name in plain} | {"steps": 12}}
    graph = {number: graph[number] for number in ("1", "2", "3", "4", "5", "6")}
    (folder / "workflow.json").write_text(json.dumps(graph))
    paths = (comfyui(), folder / "base", folder / "workflow.json", folder / "output")
    environment = {"PYTHONPATH": "dev/site"}
    command = [sys.executable, "-c", SCRIPT, *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ) | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("facts ")).removeprefix("facts "))


def test_there_is_one_copy_of_every_module(facts: dict) -> None:
    assert facts["is_instance"]
    assert facts["twice"] == []
    assert facts["modules"] > 20
    assert facts["names"] == ["uncertainty.maps"]


def test_nodes_are_described_as_over_http(facts: dict) -> None:
    options, patch = facts["described"]
    assert options["estimator"] and options["max_batch"] == 0
    assert patch == {"scale": 3.0}
    assert facts["most"] == 64
    assert facts["added"] == 5
    assert facts["rows"] == 1
