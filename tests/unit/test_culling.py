"""Moving files away and back: nothing is lost, overwritten, or moved out of its folder."""

import os
from pathlib import Path

import pytest

from uncertainty.choosing import rejecting


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "output" / "day" / "a.png"
    path.parent.mkdir(parents=True)
    path.write_text("a")
    return path


def test_there_and_back(tmp_path: Path, file: Path) -> None:
    root = tmp_path / "output"
    away = rejecting.reject(root, file)
    assert away == file.parent / "rejected" / "a.png"
    assert not file.exists()
    assert rejecting.restore(root, away) == file
    assert file.read_text() == "a"


def test_a_taken_name_is_left_alone(tmp_path: Path, file: Path) -> None:
    root = tmp_path / "output"
    away = rejecting.reject(root, file)
    file.write_text("b")
    second = rejecting.reject(root, file)
    assert (away.read_text(), second.read_text()) == ("a", "b")
    assert second.name == "a (1).png"
    file.write_text("c")
    assert rejecting.restore(root, away).name == "a (1).png"
    assert file.read_text() == "c"


def test_nothing_leaves_the_folder(tmp_path: Path, file: Path) -> None:
    root = tmp_path / "output"
    outside = tmp_path / "secret.png"
    outside.write_text("s")
    link = file.parent / "link.png"
    link.symlink_to(outside)
    for path in (outside, link, root / ".." / "secret.png"):
        with pytest.raises(ValueError, match="outside"):
            rejecting.reject(root, path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (file.parent / "rejected").symlink_to(elsewhere)
    with pytest.raises(ValueError, match="outside"):
        rejecting.reject(root, file)
    assert file.exists() and outside.exists() and not any(elsewhere.iterdir())


def test_what_cannot_be_moved_is_named(tmp_path: Path, file: Path) -> None:
    root = tmp_path / "output"
    with pytest.raises(FileNotFoundError, match=r"b\.png"):
        rejecting.reject(root, file.with_name("b.png"))
    assert not (file.parent / "rejected" / "b.png").exists()
    away = rejecting.reject(root, file)
    with pytest.raises(ValueError, match="already"):
        rejecting.reject(root, away)
    back = rejecting.restore(root, away)
    with pytest.raises(ValueError, match="is not in a folder"):
        rejecting.restore(root, back)


@pytest.mark.parametrize("links", [True, False])
def test_a_move_that_fails_leaves_nothing_behind(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*given: object) -> None:
        raise PermissionError("in use")

    real = Path.unlink
    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(Path, "unlink", lambda self: refuse() if self == file else real(self))
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(PermissionError):
        rejecting.reject(tmp_path / "output", file)
    assert file.read_text() == "a"
    assert not any((file.parent / "rejected").iterdir())


def test_where_there_are_no_links_files_move_too(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    test_a_taken_name_is_left_alone(tmp_path, file)


def test_a_move_that_was_cut_off_goes_on(tmp_path: Path, file: Path) -> None:
    away = file.parent / "rejected" / "a.png"
    away.parent.mkdir()
    os.link(file, away)
    assert rejecting.reject(tmp_path / "output", file) == away
    assert not file.exists() and away.read_text() == "a"
