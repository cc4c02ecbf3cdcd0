"""The examples of docs/extending.md work in a real ComfyUI when they are applied to a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.bootstrap import ROOT, comfyui

PAGE = ROOT / "docs" / "extending.md"
BLOCK = re.compile(r'^```(python|diff) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
NEEDED = ("__init__.py", "uncertainty", "uncertainty_runs", "nodes", "demo", "paper_models", "dev", "web")

# Prints the names that a user then sees.
SEEN = """
import sqlite3, sys
from dev.launcher import import_pack

pack = import_pack()
import importlib
import comfy.samplers, folder_paths, torch
from pathlib import Path

def module(name):
    return importlib.import_module(f"{pack.__name__}.{name}")

for kind in ("output", "user", "temp"):
    getattr(folder_paths, f"set_{kind}_directory")(sys.argv[1])
choices = {each.id: each for each in module("nodes.looking.map_preview").UncertaintyMapPreview.define_schema().inputs}
print("quantity:", *choices["quantity"].options)
assert "denoised_deviation: how far" in choices["quantity"].tooltip
choices = {each.id: each for each in module("nodes.sampling.uncertainty_options").UncertaintyOptions.define_schema().inputs}
print("estimator:", *choices["estimator"].options)
switches = module("nodes.experiments.baseline_options").UncertaintyBaselines
print("baselines:", *[each.id for each in switches.define_schema().inputs])
with torch.inference_mode():
    model, clip, vae = module("nodes.sampling.demo_model").UncertaintyDemoModel.execute().args
    prompt = clip.encode_from_tokens_scheduled(clip.tokenize("cat face"))
    options = module("uncertainty.options").Options(estimator="robust")
    flags = {"paper_score": False, "mc_dropout": False, "cfg_rejection": False, "latent_norm": True}
    (options,) = switches.execute(control="none", options=options, **flags).args
    latent, found, scores = module("nodes.sampling.ksampler").UncertaintyKSampler.execute(
        model, 1, 4, 3.0, "euler", "normal", prompt, prompt, {"samples": torch.zeros(2, 3, 64, 64)}, 1.0, 4, 0.0, 95.0, 0.5, 1.0,
        options=options,
    ).args
    saved = module("nodes.looking.map_files").UncertaintyMapSave.execute(found, "map").ui["files"][0]
    again = module("uncertainty.storage.tensor_files").load_map(Path(sys.argv[1]) / saved["filename"])
print("file:", *again.quantities, *again.baselines, again.settings["estimator"])
assert torch.equal(again.quantity("denoised_deviation"), found.quantity("denoised_deviation"))
assert bool((again.quantity("denoised_deviation") >= 0).all()) and again.score("denoised_deviation").value.min() > 0
with sqlite3.connect(Path(sys.argv[1]) / "uncertainty" / "ledger.sqlite3") as connection:
    (row,) = connection.execute("SELECT count(denoised_deviation) FROM images")
    print("ledger:", *row)
"""


def blocks() -> Iterator[tuple[str, str, str]]:
    """Kind, file and text of every example with a title."""
    for match in BLOCK.finditer(PAGE.read_text()):
        yield match[1], match[2], match[3]


def apply(folder: Path) -> list[str]:
    """Apply the examples; returns the files they touch."""
    for kind, name, text in blocks():
        path = folder / name
        if kind == "python":
            assert not path.exists(), name
            path.write_text(text)
            continue
        lines = text.splitlines()
        old = "\n".join(line[1:] for line in lines if line[0] in " -")
        new = "\n".join(line[1:] for line in lines if line[0] in " +")
        before = path.read_text()
        assert before.count(old) == 1, f"{name} has changed: {old!r} stands in it {before.count(old)} times"
        path.write_text(before.replace(old, new))
    return sorted({name for _, name, _ in blocks()})


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with every example of the page in it."""
    folder = tmp_path_factory.mktemp("extended copy")
    for name in NEEDED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    apply(folder)
    return folder


def test_the_page_counts_the_files_it_touches() -> None:
    touched = {name for _, name, _ in blocks()}
    rooms = {"quantity": "uncertainty/quantities/", "estimator": "uncertainty/estimators/", "baseline": "baselines/"}
    for what, room in rooms.items():
        (told,) = re.findall(rf"^\| an? {what} \| (\d+) \|", PAGE.read_text(), re.MULTILINE)
        assert int(told) == len([name for name in touched if room in name])


def test_what_the_page_adds_is_in_the_nodes_a_saved_file_and_the_ledger(extended: Path, tmp_path: Path) -> None:
    (extended / "seen.py").write_text(SEEN)
    environment = {**os.environ, "COMFYUI_PATH": str(comfyui()), "PYTHONDONTWRITEBYTECODE": "1"}
    run = [sys.executable, "-m", "dev.launcher", "-m", "seen", str(tmp_path)]
    done = subprocess.run(run, cwd=extended, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    seen = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    probed = "score_variance posterior_variance denoised_variance denoising_loss denoised_deviation"
    baselines = "paper_score mc_dropout bayesdiff cfg_rejection score_acceleration prompt_information latent_norm"
    assert seen["quantity"] == f"{probed.replace(' denoised_deviation', '')} drift denoised_deviation {baselines}"
    assert seen["estimator"] == "filtered control_variate paper centered robust"
    assert (
        seen["baselines"]
        == "options paper_score mc_dropout cfg_rejection control laplace score_acceleration prompt_information latent_norm"
    )
    assert seen["file"] == f"{probed} latent_norm robust"
    assert seen["ledger"] == "2"
