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
from uncertainty.storage import picture_entry
from uncertainty.storage.fingerprints import fingerprint
from uncertainty_runs.rank import prompt_of

pytestmark = pytest.mark.usefixtures("each_desk")

Rank = Callable[..., "Done"]


def save(path: Path, entry: str | None, size: int = 8) -> None:
    about = PngInfo()
    if entry is not None:
        about.add_text(picture_entry.ENTRY, entry)
    Image.new("RGB", (size, size)).save(path, pnginfo=about)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images whose scores rise in another order than their names, one without scores, one broken, one of other settings."""
    found = made(5)
    for image, name in enumerate(("c", "a", "e", "b", "d")):
        save(tmp_path / f"{name}.png", picture_entry.entry(found, image))
    save(tmp_path / "plain.png", None)
    (tmp_path / "broken.png").write_bytes(b"no PNG")
    save(tmp_path / "z.png", picture_entry.entry(made(1, 7, sampler="heun"), 0))
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


@pytest.mark.here_alone("other processes are not at the desk")
def test_as_a_user_calls_it(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "uncertainty", "rank", str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert len(names(done.stdout)) == 6


def names(told: str) -> list[str]:
    return re.findall(r"^(\w+)\.png ", told, re.MULTILINE)


def test_a_file_knows_its_scores_and_its_map(tmp_path: Path) -> None:
    found = made(3)
    save(tmp_path / "x.png", picture_entry.entry(found, 1))
    known = picture_entry.read(tmp_path / "x.png")
    assert known is not None
    score = found.score("denoised_variance")
    assert known.scores["denoised_variance"] == pytest.approx((float(score.value[1]), float(score.standard_error[1])))
    assert (known.fingerprint, known.place, known.seed) == (fingerprint(found), 1, 0)
    values = picture_entry.read_map(tmp_path / "x.png")
    expected = as_pictures(found.quantity("denoised_variance")[0])[1]
    packed = json.loads(picture_entry.entry(found, 1))["map"]
    assert values is not None
    assert torch.allclose(values * (packed["high"] - packed["low"]) + packed["low"], expected, atol=0.1 / 255)
    assert picture_entry.read(ROOT / "docs" / "icon.png") is None


def test_an_entry_takes_as_long_in_a_large_batch_as_alone() -> None:
    def seconds(images: int) -> float:
        found, times = made(images), []
        for _ in range(5):
            start = time.perf_counter()
            picture_entry.entry(found, images - 1)
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds(20_000) < 5 * seconds(1)


def test_too_large_a_picture_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "x.png", None, size=64)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"x\.png has more pixels"):
        picture_entry.read(tmp_path / "x.png")


def test_damaged_entries_are_named(tmp_path: Path) -> None:
    for number, text in enumerate(("{", "{}", '{"version": 1}', "[]", '{"version": 99}')):
        save(tmp_path / f"{number}.png", text)
        with pytest.raises(ValueError, match=rf"{number}\.png has a damaged entry"):
            picture_entry.read(tmp_path / f"{number}.png")


def test_damaged_maps_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = json.loads(picture_entry.entry(made(1), 0))["map"]
    png = base64.b64decode(packed["png"])
    for place in (0, png.index(b"IHDR"), png.index(b"IDAT"), png.index(b"IDAT") + 6):
        damaged = base64.b64encode(png[:place] + b"Y_\xf7\xdf" + png[place + 4 :]).decode()
        with pytest.raises(ValueError, match="the map in the file is damaged"):
            picture_entry.unpacked({"png": damaged})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(ValueError, match="the map in the file is damaged"):
        picture_entry.unpacked(packed)


def test_lists_best_first_and_touches_nothing(rank: Rank, folder: Path) -> None:
    before = sorted(folder.iterdir())
    done = rank(folder)
    assert not done.failed, done.stderr
    assert names(done.stdout) == ["c", "a", "e", "b", "d", "z"]
    assert "1st of 5" in done.stdout and "5th of 5" in done.stdout and "1st of 1" in done.stdout
    assert re.findall(r"^— prompt p, settings \w+: (.*)", done.stdout, re.MULTILINE) == ["5 images", "1 image"]
    assert "left out: 1 file without scores, such as plain.png" in done.stderr
    assert "broken.png is not a readable PNG, WebP or JPEG file" in done.stderr
    assert sorted(folder.iterdir()) == before


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """Three easy and three difficult images, in two subfolders. Each easy one has a lower score than any difficult one."""
    for prompt, first, subfolder in (("an easy one", 0, "a"), ("a difficult one", 3, "b/c")):
        found = made(6, prompt=f"digest of {prompt}")
        (tmp_path / subfolder).mkdir(parents=True)
        for place in range(first, first + 3):
            about = {picture_entry.ENTRY: picture_entry.entry(found, place), "prompt": json.dumps(graph(prompt))}
            (tmp_path / subfolder / f"{place}.png").write_bytes(picture_entry.png(torch.zeros(8, 8, 3), about))
    return tmp_path


def graph(prompt: str, encoder: str = "CLIPTextEncode", **texts: object) -> dict[str, object]:
    """A workflow that saves the images of a sampler."""
    return {
        "1": {"class_type": encoder, "inputs": {"clip": ["9", 0], **(texts or {"text": prompt})}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["9", 0], "text": "blurry"}},
        "3": {"class_type": "UncertaintyKSampler", "inputs": {"model": ["9", 1], "positive": ["1", 0], "negative": ["2", 0]}},
        "4": {"class_type": "UncertaintyScoreFilter", "inputs": {"uncertainty": ["3", 1]}},
        "5": {"class_type": "UncertaintySaveImage", "inputs": {"images": ["4", 0], "uncertainty": ["4", 3]}},
        "9": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a model"}},
    }


def test_prompts_are_ranked_apart(rank: Rank, night: Path) -> None:
    """Across prompts, the easy prompt would win everything."""
    for given in ((), ("--each-prompt",)):
        told = rank(night, "--keep", "1", *given).stdout.splitlines()
        assert [line.split("  ")[0] for line in told if line.endswith(" kept")] == ["a/0.png", "b/c/3.png"]
        assert [line for line in told if line.startswith("—")] == ["— an easy one: 3 images", "— a difficult one: 3 images"]
        assert sum("of 3" in line for line in told) == 6
    told = rank(night, "--keep", "3", "--across-prompts").stdout.splitlines()
    assert [line.split("  ")[0] for line in told if line.endswith(" kept")] == ["a/0.png", "a/1.png", "a/2.png"]
    assert told[0] == "— all prompts, whose ranks mix easy and difficult ones: 6 images"
    assert "not allowed with" in rank(night, "--each-prompt", "--across-prompts").stderr


def test_rejects_of_subfolders_move_and_come_back(rank: Rank, night: Path) -> None:
    assert "moved 4 of 6" in rank(night, "--keep", "1", "--move").stdout
    assert sorted(path.relative_to(night).as_posix() for path in night.rglob("*.png")) == [
        *("a/0.png", "a/rejected/1.png", "a/rejected/2.png"),
        *("b/c/3.png", "b/c/rejected/4.png", "b/c/rejected/5.png"),
    ]
    assert "2 images" not in rank(night).stdout  # rejects are not listed
    assert "brought 4 back" in rank(night, "--undo").stdout
    assert len(list(night.glob("a/*.png"))) == len(list(night.glob("b/c/*.png"))) == 3


def test_files_without_scores_take_one_line(rank: Rank, night: Path) -> None:
    for number in range(48):
        save(night / "a" / f"plain {number}.png", None)
    assert rank(night).stderr == "left out: 48 files without scores, such as a/plain 0.png\n"
    assert "no image in" in rank(night, "--quantity", "mc_dropout").stderr


@pytest.mark.parametrize(
    ("workflow", "prompt"),
    [
        (graph("a cat"), "a cat"),
        (graph("", "CLIPTextEncodeFlux", clip_l="a cat", t5xxl="a cat on a mat", guidance=3.5), "a cat\na cat on a mat"),
        (graph("", text=["8", 0]) | {"8": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a cat"}}}, "a cat"),
        (graph("", text=["8", 0]) | {"8": {"class_type": "Wildcards", "inputs": {"seed": 1}}}, ""),
        (graph("", text=["gone", 0]), ""),
        ({"1": "no node"}, ""),
        ([], ""),
    ],
)
def test_a_prompt_is_read_from_the_workflow_in_the_file(tmp_path: Path, workflow: object, prompt: str) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(picture_entry.png(torch.zeros(8, 8, 3), {"prompt": json.dumps(workflow)}))
    assert prompt_of(path) == prompt
    save(path, None)
    assert prompt_of(path) == ""


def test_images_without_a_score_are_not_ranked(rank: Rank, tmp_path: Path) -> None:
    found = made(3)
    broken = found.values.clone()
    broken[:, 1] = torch.nan
    found = replace(found, quantities=dict.fromkeys(PROBED, broken))
    for image in range(3):
        save(tmp_path / f"{image}.png", picture_entry.entry(found, image))
    told = re.sub(" +", " ", rank(tmp_path).stdout).splitlines()[1:]
    assert [line.split("±")[-1].split(" ", 2)[-1] for line in told[:2]] == ["1st of 2 kept", "2nd of 2 kept"]
    assert "no score rejected" in told[2] and told[2].startswith("1.png")


def test_moves_the_rest_and_brings_it_back(rank: Rank, folder: Path) -> None:
    before = sorted(folder.iterdir())
    done = rank(folder, "--keep", "2", "--move")
    assert not done.failed, done.stderr
    assert sorted(path.stem for path in (folder / "rejected").glob("*.png")) == ["b", "d", "e"]
    assert (folder / "plain.png").exists() and (folder / "broken.png").exists()
    assert not rank(folder, "--undo").failed
    assert sorted(path for path in folder.rglob("*.*") if path.name != LOCK) == before


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (("--keep", "1", "--reject", "lowest"), {"d", "z"}),
        (("--percentile", "50"), {"c", "a", "e", "z"}),
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
    assert sorted(path.stem for path in (folder / "rejected").glob("*.png")) == ["b", "d", "e"]


def test_no_folder_and_no_image(rank: Rank, tmp_path: Path) -> None:
    assert "gone is no folder: give one with PNG files, or the --output of a batch." in rank(tmp_path / "gone").stderr
    assert "no image" in rank(tmp_path).stderr


def test_pixels_are_not_read(tmp_path: Path) -> None:
    """Two hundred large files take no time to speak of: text lies before the pixels."""
    entry = picture_entry.entry(made(1), 0)
    for number in range(200):
        save(tmp_path / f"{number}.png", entry, 2000 if number == 0 else 8)
    big = (tmp_path / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(big[: big.index(b"IDAT") + 8])  # the rest may as well be missing
    start = time.perf_counter()
    assert all(picture_entry.read(tmp_path / f"{number}.png") for number in range(200))
    assert time.perf_counter() - start < 2
