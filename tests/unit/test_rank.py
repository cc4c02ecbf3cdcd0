"""``python -m uncertainty rank``: files sorted by the scores in them."""

import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from called import called
from dev.bootstrap import ROOT
from made_maps import made
from uncertainty.choosing.rejecting import LOCK
from uncertainty.images.heatmaps import as_pictures
from uncertainty.quantities import PROBED
from uncertainty.storage import png_entry
from uncertainty.storage.fingerprints import fingerprint

Rank = Callable[..., "Done"]


def save(path: Path, entry: str | None, size: int = 8) -> None:
    about = PngInfo()
    if entry is not None:
        about.add_text(png_entry.ENTRY, entry)
    Image.new("RGB", (size, size)).save(path, pnginfo=about)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images whose scores rise in another order than their names, one without scores, one broken, one of other settings."""
    found = made(5)
    for image, name in enumerate(("c", "a", "e", "b", "d")):
        save(tmp_path / f"{name}.png", png_entry.entry(found, image))
    save(tmp_path / "plain.png", None)
    (tmp_path / "broken.png").write_bytes(b"no PNG")
    save(tmp_path / "z.png", png_entry.entry(made(1, 7, sampler="heun"), 0))
    return tmp_path


@dataclass
class Done:
    """What a command printed, and how it ended."""

    stdout: str
    stderr: str
    failed: bool


@pytest.fixture
def rank(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Rank:
    def run(folder: Path, *arguments: str) -> Done:
        capsys.readouterr()
        failed = called(monkeypatch, "rank", folder, *arguments)
        told = capsys.readouterr()
        return Done(told.out, told.err + failed, bool(failed))

    return run


def test_as_a_user_calls_it(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uncertainty", "rank", str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert len(names(done.stdout)) == 6


def names(told: str) -> list[str]:
    return re.findall(r"^(\w+)\.png ", told, re.MULTILINE)


def test_a_file_knows_its_scores_and_its_map(tmp_path: Path) -> None:
    found = made(3)
    save(tmp_path / "x.png", png_entry.entry(found, 1))
    known = png_entry.read(tmp_path / "x.png")
    assert known is not None
    score = found.score("denoised_variance")
    assert known.scores["denoised_variance"] == pytest.approx((float(score.value[1]), float(score.standard_error[1])))
    assert (known.fingerprint, known.place, known.seed) == (fingerprint(found), 1, 0)
    values = png_entry.read_map(tmp_path / "x.png")
    expected = as_pictures(found.quantity("denoised_variance")[0])[1]
    packed = json.loads(png_entry.entry(found, 1))["map"]
    assert values is not None
    assert torch.allclose(values * (packed["high"] - packed["low"]) + packed["low"], expected, atol=0.1 / 255)
    assert png_entry.read(ROOT / "docs" / "icon.png") is None


def test_an_entry_takes_as_long_in_a_large_batch_as_alone() -> None:
    def seconds(images: int) -> float:
        found, times = made(images), []
        for _ in range(5):
            start = time.perf_counter()
            png_entry.entry(found, images - 1)
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds(20_000) < 5 * seconds(1)


def test_too_large_a_picture_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "x.png", None, size=64)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"x\.png has more pixels"):
        png_entry.read(tmp_path / "x.png")


def test_damaged_entries_are_named(tmp_path: Path) -> None:
    for number, text in enumerate(("{", "{}", '{"version": 1}', "[]", '{"version": 99}')):
        save(tmp_path / f"{number}.png", text)
        with pytest.raises(ValueError, match=rf"{number}\.png has a damaged entry"):
            png_entry.read(tmp_path / f"{number}.png")


def test_damaged_maps_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = json.loads(png_entry.entry(made(1), 0))["map"]
    png = base64.b64decode(packed["png"])
    for place in (0, png.index(b"IHDR"), png.index(b"IDAT"), png.index(b"IDAT") + 6):
        damaged = base64.b64encode(png[:place] + b"Y_\xf7\xdf" + png[place + 4 :]).decode()
        with pytest.raises(ValueError, match="the map in the file is damaged"):
            png_entry.unpacked({"png": damaged})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(ValueError, match="the map in the file is damaged"):
        png_entry.unpacked(packed)


def test_lists_best_first_and_touches_nothing(rank: Rank, folder: Path) -> None:
    before = sorted(folder.iterdir())
    done = rank(folder)
    assert not done.failed, done.stderr
    assert names(done.stdout) == ["z", "c", "a", "e", "b", "d"] or names(done.stdout) == ["c", "z", "a", "e", "b", "d"]
    assert "better than 100 % of 4" in done.stdout
    assert "the only one" in done.stdout and "2 different settings" in done.stdout
    assert "plain.png has no scores" in done.stderr and "broken.png is not a readable PNG file" in done.stderr
    assert sorted(folder.iterdir()) == before


def test_images_without_a_score_are_not_ranked(rank: Rank, tmp_path: Path) -> None:
    found = made(3)
    broken = found.values.clone()
    broken[:, 1] = torch.nan
    found = replace(found, quantities=dict.fromkeys(PROBED, broken))
    for image in range(3):
        save(tmp_path / f"{image}.png", png_entry.entry(found, image))
    told = re.sub(" +", " ", rank(tmp_path).stdout).splitlines()
    assert [line.split("% of")[-1] for line in told[:2]] == [" 1 kept"] * 2
    assert "better than 100 %" in told[0] and "better than 0 %" in told[1]
    assert "no score rejected" in told[2] and told[2].startswith("1.png")


def test_moves_the_rest_and_brings_it_back(rank: Rank, folder: Path) -> None:
    before = sorted(folder.iterdir())
    done = rank(folder, "--keep", "2", "--move")
    assert not done.failed, done.stderr
    assert sorted(path.stem for path in (folder / "rejected").glob("*.png")) == ["a", "b", "d", "e"]
    assert (folder / "plain.png").exists() and (folder / "broken.png").exists()
    assert not rank(folder, "--undo").failed
    assert sorted(path for path in folder.rglob("*.*") if path.name != LOCK) == before


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (("--keep", "1", "--reject", "lowest"), {"d"}),
        (("--percentile", "50"), {"c", "z", "a"}),
        (("--threshold", "2.5"), {"c", "z", "a", "e"}),
        (("--threshold", "2.5", "--quantity", "score_variance"), {"b", "d"}),
    ],
)
def test_rules(rank: Rank, folder: Path, arguments: tuple[str, ...], kept: set[str]) -> None:
    done = rank(folder, *arguments)
    assert {line.partition(".")[0] for line in done.stdout.splitlines() if line.endswith(" kept")} == kept


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--move",), "--move needs a rule"),
        (("--keep", "0"), "at least 1"),
        (("--threshold", "nan"), "must be a number, got nan"),
        (("--percentile", "some"), "must be a number, got some"),
        (("--percentile", "101"), "between 0 and 100"),
        (("--keep", "1", "--percentile", "5"), "not allowed with"),
    ],
)
def test_what_makes_no_sense_is_refused(rank: Rank, folder: Path, arguments: tuple[str, ...], words: str) -> None:
    done = rank(folder, *arguments)
    assert done.failed
    assert words in done.stderr
    assert not (folder / "rejected").exists()


def test_what_cannot_be_moved_is_named(rank: Rank, folder: Path) -> None:
    rank(folder, "--keep", "2", "--move")
    done = rank(folder / "rejected", "--keep", "1", "--move")
    assert "files in it cannot be rejected again" in done.stderr
    assert sorted(path.stem for path in (folder / "rejected").glob("*.png")) == ["a", "b", "d", "e"]


def test_no_folder_and_no_image(rank: Rank, tmp_path: Path) -> None:
    assert "is no folder" in rank(tmp_path / "gone").stderr
    assert "no image" in rank(tmp_path).stderr


def test_pixels_are_not_read(tmp_path: Path) -> None:
    """Two hundred large files take no time to speak of: text lies before the pixels."""
    entry = png_entry.entry(made(1), 0)
    for number in range(200):
        save(tmp_path / f"{number}.png", entry, 2000 if number == 0 else 8)
    big = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(big[: big.index(b"IDAT") + 8])  # the rest may as well be missing
    start = time.perf_counter()
    assert all(png_entry.read(tmp_path / f"{number}.png") for number in range(200))
    assert time.perf_counter() - start < 2
