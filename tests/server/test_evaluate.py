"""``python -m uncertainty evaluate`` against a real server, on the demo model."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from described_nodes import describe
from dev.bootstrap import ROOT
from dev.launcher import mend_torchvision
from dev.server import ComfyServer
from uncertainty_runs.command_line import parser
from uncertainty_runs.drawing import Engine, collect
from uncertainty_runs.engines.http_server import Server, ServerError
from uncertainty_runs.engines.one_by_one import OneByOne
from uncertainty_runs.plan import Plan, jobs_for
from uncertainty_runs.rows import Rows
from uncertainty_runs.run_folder import seconds
from uncertainty_runs.workflow import Workflow

STEPS, SIZE = 6, 2


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    """The evidence's workflow with few steps and without real pictures to fit to, as a file."""
    graph: dict[str, Any] = json.loads((ROOT / "dev" / "evidence.api.json").read_text())
    (sampler,) = [node for node in graph.values() if node["class_type"] == "UncertaintyKSampler"]
    sampler["inputs"] |= {"steps": STEPS, "samples": 2}
    del graph["baselines"]["inputs"]["laplace"]
    (latent,) = [node for node in graph.values() if node["class_type"] == "EmptyLatentImage"]
    latent["inputs"]["batch_size"] = SIZE
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(graph))
    return path


def evaluate(server: ComfyServer, protocol: str, *arguments: object) -> None:
    """Run the command as its command line is read."""
    found = parser().parse_args(["evaluate", protocol, "--server", server.url, *map(str, arguments)])
    found.run(found)


def test_a_lost_map_is_named_with_its_run(server: ComfyServer, workflow: Path, tmp_path: Path) -> None:
    """A window of one step in a thousand, which this sampler jumps over."""
    drawn = plan(workflow, 2, 5, sampler_name="dpm_adaptive", steps=1000, window_start=0.5, window_end=0.501)
    with pytest.raises(ServerError, match=r"run 0 \(prompt 'cat face', seed 5\) has no uncertainty map, because no model call"):
        collect(on(server.url), drawn, tmp_path / "drawn")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def on(url: str) -> Callable[[], Engine]:
    """What draws on a server."""
    return lambda: OneByOne(Server(url))


def plan(workflow: Path, count: int, seed: int, **changed: object) -> Plan:
    drawn = Workflow.read(workflow, describe).sampling(strength=0.0, **changed)
    return Plan(drawn, ["cat face", "pizza"], seed, jobs_for(count, SIZE), SIZE, every_seed_once=True)


def test_a_stopped_collection_goes_on(server: ComfyServer, workflow: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "images"
    first = collect(on(server.url), plan(workflow, 4, 300), folder)
    assert [image.prompt for image in first] == ["cat face", "cat face", "pizza", "pizza"]
    assert [(image.number, image.place) for image in first] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({image.scores["denoised_variance"] for image in first}) == len(first)

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    Rows(folder / "rows").remove([1])
    again = collect(on(server.url), plan(workflow, 6, 300), folder)
    assert [image.path for image in again[:4]] == [image.path for image in first]
    for image, other in zip(first, again, strict=False):
        assert image.scores["denoised_variance"][0] == other.scores["denoised_variance"][0]
    assert len(again) == 6
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    assert {path.name for path in before if before[path] == after[path]} == {"0000000_000.png", "0000000_001.png"}
    assert len(seconds(folder)) == 3


def test_a_folder_of_another_evaluation_is_left_alone(server: ComfyServer, workflow: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "images"
    collect(on(server.url), plan(workflow, 2, 310), folder)
    with pytest.raises(ValueError, match="holds images of another workflow, other prompts or other settings"):
        collect(on(server.url), plan(workflow, 2, 311), folder)


def test_no_server_is_said(workflow: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "images"
    with pytest.raises(ServerError, match="no answer from ComfyUI at http://127.0.0.1:9"):
        collect(on("http://127.0.0.1:9"), plan(workflow, 2, 1), folder)
    assert not list(folder.rglob("*.png"))


def test_a_refused_workflow_is_said(server: ComfyServer, workflow: Path, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="rejected the workflow:\nUncertaintyKSampler .*sampler_name"):
        collect(on(server.url), plan(workflow, 2, 1, sampler_name="none such"), tmp_path / "out" / "images")


def test_the_course_of_uncertainty(server: ComfyServer, workflow: Path, tmp_path: Path) -> None:
    evaluate(server, "course", "--workflow", workflow, "--out", tmp_path / "out", "--count", 4, "--seed", 320)
    table = rows(tmp_path / "out" / "course.csv")
    assert [int(row["step"]) for row in table] == list(range(1, STEPS))
    assert all(float(row["denoised_variance"]) > 0 for row in table)
    sigmas = [float(row["sigma"]) for row in table]
    assert sigmas == sorted(sigmas, reverse=True)
    assert (tmp_path / "out" / "course.png").is_file()
    assert not (tmp_path / "out" / "ranking by step.csv").exists()  # without real pictures nobody judges


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """What is drawn, as a file."""
    path = tmp_path / "prompts.txt"
    path.write_text("cat face\npizza\n")
    return path


@pytest.fixture
def reference(server: ComfyServer, workflow: Path, tmp_path: Path) -> Path:
    """Twelve pictures with their captions: the images that seeds from 330 on give."""
    mend_torchvision()
    drawn, folder = tmp_path / "drawn" / "images", tmp_path / "reference"
    folder.mkdir()
    for number, image in enumerate(collect(on(server.url), plan(workflow, 12, 330), drawn)):
        shutil.copy(image.path, folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(image.prompt)
    return folder


def test_filtering(server: ComfyServer, workflow: Path, prompts: Path, reference: Path, tmp_path: Path) -> None:
    drawing = ("--workflow", workflow, "--count", 12, "--seed", 330, "--prompts", prompts)
    out = tmp_path / "filtering"
    evaluate(server, "filtering", "--out", out, *drawing, "--reference", reference, "--baselines", "cfg_rejection")
    methods = {row["method"] for row in rows(out / "distances efficientnet-lite0.csv")}
    assert methods >= {"random", "denoised_variance", "cfg_rejection", "total_variation"}
    # The very images are the reference: each is as like as can be.
    gains = rows(out / "best of k.csv")
    assert {row["k"] for row in gains} == {"2", "4"}
    assert all(abs(float(row["random one"])) < 1e-3 for row in gains)

    out = tmp_path / "nothing to compare with"
    evaluate(server, "filtering", "--out", out, *drawing)
    assert len(rows(out / "scores.csv")) == 12
    assert not (out / "best of k.csv").exists()
    assert (out / "best and worst of each prompt.jpg").is_file()
    assert (out / "best and worst of all images.jpg").is_file()
    evaluate(server, "filtering", "--out", out, *drawing, "--reward", "own_judge:redness")
    assert {row["quality"] for row in rows(out / "best of k.csv")} == {"redness"}


def test_reconstruction(server: ComfyServer, workflow: Path, reference: Path, tmp_path: Path) -> None:
    few, out = tmp_path / "few", tmp_path / "reconstruction"
    few.mkdir()
    for name in ("0.png", "0.txt", "2.png", "2.txt"):
        shutil.copy(reference / name, few / name)
    evaluate(server, "reconstruction", "--workflow", workflow, "--out", out, "--count", 2, "--reference", few)
    table = {(row["map"], row["steps"]): row for row in rows(out / "sparsification.csv")}
    assert abs(float(table["random", "–"]["AURG"])) < 0.02
    assert float(table["denoised_variance", "all"]["AUSE"]) >= 0
    assert (out / "examples.png").is_file()


def test_guidance_and_its_controls(server: ComfyServer, workflow: Path, prompts: Path, reference: Path, tmp_path: Path) -> None:
    out = tmp_path / "guidance"
    evaluate(
        server, "guidance", "--workflow", workflow, "--out", out, "--count", 2, "--batch", 1, "--seed", 340, "--prompts", prompts,
        "--reference", reference, "--features", "demo.classifier:judge",
    )  # fmt: skip
    table = rows(out / "guidance emoji classifier.csv")
    assert float(table[0]["pixels changed"]) == 0
    assert all(float(row["pixels changed"]) > 0 for row in table[1:])
    assert {row["special"] for row in table} >= {"random direction", "random mask", "below it", "forward-only"}
    assert (out / "sheet.jpg").is_file()
