"""Moving files away and back: nothing is lost, overwritten, or moved out of its folder."""

import multiprocessing
import os
import random
import shutil
import time
from contextlib import suppress
from pathlib import Path

import pytest

from uncertainty.choosing.rejecting import LOCK, REJECTED, moving


def reject(root: Path, file: Path) -> Path:
    with moving(root, file.parent) as mover:
        return mover.reject(file.name)


def restore(root: Path, file: Path) -> Path:
    with moving(root, file.parent.parent) as mover:
        return mover.restore(file.name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "output" / "day" / "a.png"
    path.parent.mkdir(parents=True)
    path.write_text("a")
    return path


def test_there_and_back(tmp_path: Path, file: Path) -> None:
    root = tmp_path / "output"
    away = reject(root, file)
    assert away == file.parent / "rejected" / "a.png"
    assert not file.exists()
    assert restore(root, away) == file
    assert file.read_text() == "a"


def test_a_taken_name_is_left_alone(tmp_path: Path, file: Path) -> None:
    root = tmp_path / "output"
    away = reject(root, file)
    file.write_text("b")
    second = reject(root, file)
    assert (away.read_text(), second.read_text()) == ("a", "b")
    assert second.name == "a (1).png"
    file.write_text("c")
    assert restore(root, away).name == "a (1).png"
    assert file.read_text() == "c"


def test_nothing_leaves_the_folder(tmp_path: Path, file: Path) -> None:
    root = tmp_path / "output"
    outside = tmp_path / "secret.png"
    outside.write_text("s")
    link = file.parent / "link.png"
    link.symlink_to(outside)
    for path in (outside, link, root / ".." / "secret.png"):
        with pytest.raises(ValueError, match="outside"):
            reject(root, path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(file.parent / REJECTED)
    (file.parent / REJECTED).symlink_to(elsewhere)
    with pytest.raises(ValueError, match="outside"):
        reject(root, file)
    assert file.exists() and outside.exists() and not any(elsewhere.iterdir())


def test_what_cannot_be_moved_is_named(tmp_path: Path, file: Path) -> None:
    root = tmp_path / "output"
    with pytest.raises(FileNotFoundError, match=r"b\.png"):
        reject(root, file.with_name("b.png"))
    assert not (file.parent / "rejected" / "b.png").exists()
    away = reject(root, file)
    with pytest.raises(ValueError, match="cannot be rejected again"):
        reject(root, away)
    restore(root, away)
    with pytest.raises(FileNotFoundError, match=r"a\.png"):
        restore(root, away)


@pytest.mark.parametrize("links", [True, False])
def test_a_move_that_fails_leaves_nothing_behind(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*given: object) -> None:
        raise PermissionError("in use")

    real = Path.unlink
    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(Path, "unlink", lambda self, **given: refuse() if self == file else real(self, **given))
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(PermissionError):
        reject(tmp_path / "output", file)
    assert file.read_text() == "a"
    assert [path.name for path in (file.parent / REJECTED).iterdir()] == [LOCK]


def test_where_there_are_no_links_files_move_too(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    test_a_taken_name_is_left_alone(tmp_path, file)


RACES, LONG_RACES = 4, 100
FILES = 30


def _race(root: Path, restoring: bool, seed: int) -> None:
    """Reject or restore every file, in an order of its own; a file that another mover has moved is none of its business."""
    names = [f"{number}.png" for number in range(FILES)]
    random.Random(seed).shuffle(names)  # noqa: S311
    for name in names:
        with moving(root, root) as mover, suppress(FileNotFoundError):
            (mover.restore if restoring else mover.reject)(name)


@pytest.mark.parametrize("killed", [False, True])
def test_movers_of_several_processes_lose_nothing(tmp_path: Path, killed: bool, request: pytest.FixtureRequest) -> None:
    """Six movers at once, half of which bring files back. In every round each file is in one place, with its own content."""
    for number in range(FILES):
        (tmp_path / f"{number}.png").write_text(str(number))
    context = multiprocessing.get_context("fork")
    for round_number in range(LONG_RACES if request.config.getoption("--long") else RACES):
        movers = [
            context.Process(target=_race, args=(tmp_path, restoring, 10 * round_number + index))
            for index, restoring in enumerate([False, True] * 3)
        ]
        for mover in movers:
            mover.start()
        if killed:
            time.sleep(0.02 * (round_number % 10))
            for mover in movers[::2]:
                mover.kill()
        for mover in movers:
            mover.join()
        _race(tmp_path, restoring=True, seed=0)  # also finishes what a killed mover left half done
        assert {path.name: path.read_text() for path in tmp_path.glob("*.png")} == {f"{n}.png": str(n) for n in range(FILES)}
        assert [path.name for path in (tmp_path / REJECTED).iterdir()] == [LOCK]


def test_a_name_that_this_move_did_not_make_is_never_removed(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted move left both names, and the old one cannot be removed."""
    away = file.parent / REJECTED / file.name
    away.parent.mkdir()
    os.link(file, away)

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError("in use")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(PermissionError):
            reject(tmp_path / "output", file)
    assert (file.read_text(), away.read_text()) == ("a", "a")


def test_a_move_that_was_cut_off_goes_on(tmp_path: Path, file: Path) -> None:
    away = file.parent / "rejected" / "a.png"
    away.parent.mkdir()
    os.link(file, away)
    assert reject(tmp_path / "output", file) == away
    assert not file.exists() and away.read_text() == "a"
