"""The pictures in the filter's view: the image, the first frame of a video, or the map where there are no images."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

COUNT = 3
RULE = {
    "mode": "keep_best", "keep": 2, "percentile": 50.0, "threshold": 0.0, "quantity": "denoised_variance", "reject": "highest",
    "window_start": 0.0, "window_end": 1.0, "when_none_pass": "block",
}  # fmt: skip
SPATIAL = {"image": (4, 6), "video": (5, 4, 6), "audio": (8,)}


@pytest.fixture
def judged(pack: Callable[[str], ModuleType]) -> Callable[..., dict[str, Any]]:
    """The data file of a run, for a map in which image i has the value i."""

    def run(kind: str, **inputs: Any) -> dict[str, Any]:
        values = torch.arange(float(COUNT)).reshape(1, COUNT, 1, *[1] * len(SPATIAL[kind])).expand(1, COUNT, 2, *SPATIAL[kind])
        quantities = dict.fromkeys(pack("uncertainty").PROBED, values)
        errors = dict.fromkeys(quantities, torch.zeros(1, COUNT))
        settings = {"seed": 2**64 - 1}
        found = pack("uncertainty.maps").UncertaintyMap(
            quantities, errors, (3,), 4, torch.ones(1), settings=settings, places=(4, 0, 2)
        )
        ui = pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute(uncertainty=found, **RULE, **inputs).ui
        written: dict[str, Any] = json.loads(read(ui["uncertainty_view"][0]))
        assert (written["scores"], written["kept"]) == ([0, 1, 2], [0, 1])
        return written

    return run


@pytest.fixture
def shown(judged: Callable[..., dict[str, Any]]) -> Callable[..., list[np.ndarray]]:
    """The thumbnails of a run."""

    def run(kind: str, **inputs: Any) -> list[np.ndarray]:
        return [np.asarray(Image.open(path(picture["small"]))) for picture in judged(kind, **inputs)["pictures"]]

    return run


def path(file: dict[str, str]) -> Path:
    """The path of a file in ComfyUI's folder."""
    import folder_paths

    return Path(folder_paths.get_temp_directory(), file["subfolder"], file["filename"])


def read(name: str) -> str:
    """The file that the view loads."""
    return path({"subfolder": "uncertainty", "filename": name}).read_text()


def test_kept_images_are_results_of_comfyui_and_nothing_else_is(pack: Callable[[str], ModuleType]) -> None:
    """Newer front-ends take every dictionary with a filename for media: they counted and printed the view's data."""
    values = torch.arange(3.0).reshape(1, 3, 1, 1, 1).expand(1, 3, 2, 4, 6)
    quantities = dict.fromkeys(pack("uncertainty").PROBED, values)
    errors = dict.fromkeys(quantities, torch.zeros(1, 3))
    found = pack("uncertainty.maps").UncertaintyMap(quantities, errors, (3,), 4, torch.ones(1))
    images = torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1).expand(3, 32, 48, 3)
    judge = pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute
    ui = judge(uncertainty=found, images=images, **RULE).ui
    media = {name: entries for name, entries in ui.items() if any(isinstance(entry, dict) for entry in entries)}
    assert [*media] == ["images"]
    shown = [np.asarray(Image.open(path(file))) for file in media["images"]]
    assert [round(float(picture.mean())) for picture in shown] == pytest.approx([0, 128], abs=1)
    assert judge(uncertainty=found, **RULE).ui["images"] == []  # maps are no results


def test_first_frames_of_videos(shown: Callable[..., list[np.ndarray]]) -> None:
    frames = 17
    numbers = torch.arange(float(COUNT * frames)).reshape(-1, 1, 1, 1).expand(-1, 32, 48, 3) / 255
    pictures = shown("video", images=numbers)
    assert [picture.shape for picture in pictures] == [(32, 48, 3)] * COUNT
    assert [round(float(picture.mean())) for picture in pictures] == pytest.approx([0, frames, 2 * frames], abs=1)


@pytest.mark.parametrize("kind", SPATIAL)
def test_maps_where_no_images_are(shown: Callable[..., list[np.ndarray]], kind: str) -> None:
    """All maps share one colour scale, brighter for a higher score."""
    pictures = shown(kind)
    assert [picture.shape for picture in pictures] == [(*SPATIAL[kind][-2:], 3) if kind != "audio" else (1, 8, 3)] * COUNT
    bright = [picture.mean() for picture in pictures]
    assert bright[0] + 20 < bright[1] < bright[2] - 20


@pytest.mark.parametrize("kind", ["image", "video"])
def test_what_the_culling_view_shows(judged: Callable[..., dict[str, Any]], pack: Callable[[str], ModuleType], kind: str) -> None:
    """Large pictures at full size; a map of each quantity for each image, the judged one first; seed and places, exactly."""
    found = judged(kind, images=torch.zeros(COUNT * {"image": 1, "video": 17}[kind], 8, 1500, 3))
    large = [np.asarray(Image.open(path(picture["large"]))) for picture in found["pictures"]]
    assert [picture.shape for picture in large] == [(8, 1500, 3)] * COUNT
    assert (found["seed"], found["places"]) == (str(2**64 - 1), [4, 0, 2])
    assert len(found["clips"]) == {"image": 0, "video": COUNT}[kind]
    shown = [*found["clips"], *(file for picture in found["pictures"] for file in picture.values())]
    assert {Path(file["filename"]).suffix for file in shown} <= set(pack("nodes.view_route").SUFFIXES)
    names = [entry["name"] for entry in found["maps"]]
    assert names[0] == RULE["quantity"]
    assert len(set(names)) == len(names) > 1
    for entry in found["maps"]:
        maps = [np.asarray(Image.open(path(file))) for file in entry["files"]]
        assert [picture.shape for picture in maps] == [(4, 6, 3)] * COUNT
        bright = [picture.mean() for picture in maps]
        assert bright[0] + 20 < bright[1] < bright[2] - 20
    assert judged(kind)["maps"] == []  # the pictures are maps then


def test_files_of_old_runs_go(pack: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view_files = pack("nodes.view_files")
    monkeypatch.setattr(view_files.folder_paths, "get_temp_directory", lambda: str(tmp_path))
    monkeypatch.setattr(view_files, "MOST_RUNS", 3)
    folder = tmp_path / view_files.FOLDER
    folder.mkdir()
    (folder / "mine.txt").write_text("not of a view")
    stems = []
    for number in range(6):
        stems.append(view_files.new_stem("map"))
        for part in ("", "_0_0"):
            view_files.write_json(f"{stems[-1]}{part}", {})
            os.utime(folder / f"{stems[-1]}{part}.json", (number, number))
    view_files.new_stem("filter")
    kept = {f"{stem}{part}.json" for stem in stems[-3:] for part in ("", "_0_0")}
    assert {path.name for path in folder.iterdir()} == kept | {"mine.txt"}


def test_answers_of_several_batches_are_joined(pack: Callable[[str], ModuleType]) -> None:
    """A node whose inputs are lists runs once per batch. ComfyUI joins the answers, so ``kept`` counts over all scores."""
    from comfy_execution.utils import CurrentNodeContext

    def answers(prompt: str, sizes: list[int]) -> dict[str, list[Any]]:
        joined: dict[str, list[Any]] = {}
        for entry, size in enumerate(sizes):
            values = torch.arange(float(size)).flip(0).reshape(1, size, 1, 1, 1).expand(1, size, 2, 4, 4)  # the last is the best
            quantities = dict.fromkeys(pack("uncertainty").PROBED, values)
            errors = dict.fromkeys(quantities, torch.zeros(1, size))
            found = pack("uncertainty.maps").UncertaintyMap(quantities, errors, (3,), 4, torch.ones(1))
            with CurrentNodeContext(prompt, "7", entry):
                ui = (
                    pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute(uncertainty=found, **RULE | {"keep": 1}).ui
                )
            for name, entries in ui.items():
                joined.setdefault(name, []).extend(entries)
        return joined

    for prompt in ("first", "second"):
        found = answers(prompt, [2, 3, 1])
        assert (found["batches"], found["kept"]) == ([2, 3, 1], [1, 4, 5])
        assert [found["scores"][image] for image in found["kept"]] == [0, 0, 0]
        assert [json.loads(read(file))["kept"] for file in found["uncertainty_view"]] == [[1], [2], [0]]
    assert answers("second", [2])["kept"] == [1]
