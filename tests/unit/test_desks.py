"""What is written on Windows and macOS, whose file systems ``desks`` imitates: nothing is lost, and every refusal says why."""

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_rank import save
from test_rows import row

from called import called
from desks import Desk
from made_maps import made
from tables import read_table
from uncertainty import room
from uncertainty.choosing.rejecting import REJECTED, Mover, moving
from uncertainty.storage import in_use, picture_entry
from uncertainty.storage.atomic import atomic_write, rename_to_new, write_whole
from uncertainty.storage.ledger import LOCATION, Ledger
from uncertainty.storage.ledger_query import Query
from uncertainty.storage.rating import write_rating
from uncertainty_runs import record_command, rows, temporary
from uncertainty_runs.comfyui import Folders
from uncertainty_runs.engines.shared_folder import marked
from uncertainty_runs.evaluation.judges import Reference
from uncertainty_runs.evaluation.report import Table
from uncertainty_runs.rows import Rows
from uncertainty_runs.run_folder import BatchFolder
from uncertainty_runs.temporary import TemporaryFolder, remove_abandoned

REFUSED = "volume label syntax|is too long"
OPEN = r"a\.png is open in another program, or write-protected: close it there, and try again\."


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are open for ever are given up soon."""
    monkeypatch.setattr(in_use, "WAIT_UNTIL_CLOSED", 0.2)


@pytest.fixture
def macos(tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path, "macos").at_it() as desk:
        yield desk


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# The imitation itself


@pytest.mark.parametrize(
    "name", ["con", "NUL.png", "com1.a.b", "Lpt³", "aux .txt", "a:b.png", "a?", 'a"', "a|b", "<a>", "a*", "a\nb", "b" * 256]
)
def test_windows_refuses_names(windows: Desk, name: str) -> None:
    with pytest.raises(OSError, match=REFUSED) as refused:
        (windows.root / name).write_bytes(b"")
    assert refused.value.winerror in (123, 206)
    with pytest.raises(OSError, match=REFUSED):
        (windows.root / name).mkdir()
    assert not (windows.root / name).exists() and names(windows.root) == []


@pytest.mark.parametrize("name", ["console", "com10", "lpt", "nul_00001_.png", "a;b", "b" * 200])
def test_windows_takes_other_names(windows: Desk, name: str) -> None:
    (windows.root / name).write_bytes(b"")
    assert names(windows.root) == [name]


def test_names_of_one_file(windows: Desk) -> None:
    root = windows.root
    (root / "New. ").mkdir()
    (root / "new" / "Cat.PNG.").write_bytes(b"first")
    (root / "NEW" / "cat.png").write_bytes(b"second")
    assert names(root) == ["New"] and names(root / "neW") == ["Cat.PNG"]
    assert (root / "new" / "CAT.png").resolve() == root / "New" / "Cat.PNG"
    (root / "new" / "cat.png").rename(root / "new" / "cat.png")
    assert names(root / "new") == ["cat.png"]


def test_on_macos_the_form_of_accents_does_not_count(macos: Desk) -> None:
    (macos.root / "e\u0301te\u0301.png").write_bytes(b"first")
    (macos.root / "\u00c9t\u00e9.PNG").write_bytes(b"second")
    assert names(macos.root) == ["e\u0301te\u0301.png"]
    with pytest.raises(OSError, match="Illegal byte sequence"):
        (macos.root / "\udcff").touch()


def test_open_files_stay_where_they_are(windows: Desk) -> None:
    path, other, folder = (windows.root / name for name in ("folder/a.bin", "b.bin", "other"))
    path.parent.mkdir()
    save_file({"x": torch.zeros(9)}, path)
    other.write_bytes(b"")
    mapped = load_file(path)
    for act in (path.unlink, lambda: path.rename(other), lambda: other.replace(path), lambda: path.parent.rename(folder)):
        with pytest.raises(PermissionError):
            act()
    del mapped
    with path.open("rb"), pytest.raises(PermissionError):
        path.unlink()
    with windows.viewing(path), pytest.raises(PermissionError):
        path.unlink()
    path.chmod(0o444)
    for act in (path.unlink, lambda: other.replace(path), lambda: path.write_bytes(b"")):
        with pytest.raises(PermissionError):
            act()
    with pytest.raises(FileExistsError):
        other.rename(path)
    path.chmod(0o666)
    other.replace(path)
    path.unlink()


def test_what_windows_lacks(windows: Desk) -> None:
    with pytest.raises(OSError, match="A required privilege"):
        (windows.root / "link").symlink_to(windows.root)
    with pytest.raises(PermissionError):
        os.open(windows.root, os.O_RDONLY)
    assert not hasattr(os, "fork") and not hasattr(os, "posix_fallocate")
    (windows.root / "a.txt").write_text("ä\n")  # without an encoding, as no module of the pack does
    assert (windows.root / "a.txt").read_bytes() == b"\xe4\r\n"


# Whole files


@pytest.mark.parametrize("replace", [True, False])
def test_a_file_that_stays_open_is_named_as_it_is_known(windows: Desk, replace: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_use, "WAIT_UNTIL_CLOSED", 0.1)
    windows.scanner = 60
    with pytest.raises(in_use.InUse, match=r"^cat\.png is open in another program"):
        write_whole(windows.root / "cat.png", b"new", replace=replace)


def test_a_virus_scanner_is_waited_for(windows: Desk) -> None:
    windows.scanner = 0.1
    path = windows.root / "a.png"
    write_whole(path, b"first", replace=False)
    write_whole(path, b"second")
    with atomic_write(windows.root / "b.png") as unfinished:
        save_file({"x": torch.ones(3)}, unfinished)
    with pytest.raises(FileNotFoundError), atomic_write(path) as unfinished:
        unfinished.with_name("none").replace(unfinished)
    assert path.read_bytes() == b"second" and names(windows.root) == ["a.png", "b.png"]


def test_a_file_that_somebody_shows_is_replaced_when_it_is_closed(windows: Desk, impatient: None) -> None:
    path = windows.root / "a.png"
    path.write_bytes(b"before")
    with windows.viewing(path), pytest.raises(PermissionError, match=OPEN):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before" and names(windows.root) == ["a.png"]
    write_whole(path, b"after")
    assert path.read_bytes() == b"after"


def test_a_file_that_somebody_shows_keeps_its_one_name(windows: Desk, impatient: None) -> None:
    source, target = windows.root / "a.png", windows.root / "b.png"
    source.write_bytes(b"")
    with windows.viewing(source), pytest.raises(PermissionError, match=OPEN):
        rename_to_new(source, target)
    assert names(windows.root) == ["a.png"]
    target.write_bytes(b"other")
    with pytest.raises(FileExistsError):
        rename_to_new(source, target)
    assert target.read_bytes() == b"other" and source.exists()


def test_a_disk_without_hard_links(tmp_path: Path) -> None:
    for kind in ("windows", "macos"):
        folder = tmp_path / kind
        folder.mkdir()
        with Desk(folder, kind, hard_links=False).at_it():
            write_whole(folder / "a.png", b"a", replace=False)
            with pytest.raises(FileExistsError):
                write_whole(folder / "A.png", b"b", replace=False)
            assert names(folder) == ["a.png"] and (folder / "a.png").read_bytes() == b"a"


@pytest.mark.parametrize("name", ["f" * 230 + "/" + "a.png", "a" * 225 + ".png"])
def test_a_path_that_is_too_long_is_told(windows: Desk, name: str) -> None:
    path = windows.root / name
    with pytest.raises(OSError, match=r"a\.png cannot be written: its path .* Windows allows 259\. Shorten the names"):
        write_whole(path, b"")
    assert names(windows.root) == []


# Rejects and stars


def test_rejecting_waits_for_what_is_open(windows: Desk, impatient: None) -> None:
    path = windows.root / "a.png"
    path.write_bytes(b"")
    with moving(windows.root, windows.root) as mover:
        with windows.viewing(path), pytest.raises(PermissionError, match=OPEN):
            mover.reject("a.png")
        assert path.exists() and names(windows.root / REJECTED) == [".moves.lock"]
        assert mover.reject("a.png").exists() and not path.exists()


def test_one_open_file_does_not_keep_rank_from_moving_the_others(
    windows: Desk, impatient: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for place in range(3):
        save(windows.root / f"{place}.png", picture_entry.entry(made(3), place))
    assert called(monkeypatch, "rank", windows.root, "--keep", "1") == ""
    best, _, worst = re.findall(r"\d\.png", capfd.readouterr().out)
    with windows.viewing(windows.root / worst):
        assert called(monkeypatch, "rank", windows.root, "--keep", "1", "--move") == ""
    told = capfd.readouterr()
    assert "moved 1 of 3" in told.out
    assert f"not moved: {worst} is open in another program" in told.err
    assert {path.name for path in windows.root.glob("*.png")} == {best, worst}


def test_a_folder_that_nobody_may_write_to_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(mover: Mover, name: str) -> Path:
        raise PermissionError(13, "Permission denied", name)

    for place in range(3):
        save(tmp_path / f"{place}.png", picture_entry.entry(made(3), place))
    monkeypatch.setattr(Mover, "reject", refuse)
    assert "Permission denied" in called(monkeypatch, "rank", tmp_path, "--keep", "1", "--move") + capfd.readouterr().err


@pytest.mark.parametrize("kind", ["windows", "macos"])
def test_a_folder_for_rejects_in_another_case(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with Desk(tmp_path, kind).at_it():
        (tmp_path / "Rejected").mkdir()
        for place in range(3):
            save(tmp_path / f"{place}.png", picture_entry.entry(made(3), place))
        for moved in (2, 0):
            assert called(monkeypatch, "rank", tmp_path, "--keep", "1", "--move") == ""
            assert f"moved {moved} of " in capfd.readouterr().out
        assert called(monkeypatch, "rank", tmp_path, "--undo") == ""
        assert "brought 2 back" in capfd.readouterr().out
        assert len(list(tmp_path.glob("*.png"))) == 3


def test_where_case_counts_such_a_folder_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Rejected").mkdir()
    save(tmp_path / "Rejected" / "a.png", picture_entry.entry(made(1), 0))
    assert called(monkeypatch, "rank", tmp_path) == ""
    assert "Rejected/a.png" in capfd.readouterr().out


def test_a_write_protected_picture_is_named(windows: Desk) -> None:
    path = windows.root / "a.png"
    save(path, picture_entry.entry(made(1), 0))
    before = path.read_bytes()
    path.chmod(0o444)
    with pytest.raises(ValueError, match=r"a\.png is write-protected: allow changes to it"):
        write_rating(path, 3)
    assert path.read_bytes() == before and names(windows.root) == ["a.png"]


def test_notes_of_macos_are_no_pictures(macos: Desk, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png"):
        save(macos.root / name, picture_entry.entry(made(2), "ab".index(name[0])))
        (macos.root / f"._{name}").write_bytes(b"\0\5\x16\7")
    assert called(monkeypatch, "rank", macos.root, "--keep", "1", "--move") == ""
    told = capfd.readouterr()
    assert "moved 1 of 2" in told.out and told.err == ""
    assert [path.name for path in Reference.of(macos.root).paths] == [path.name for path in macos.root.glob("[ab].png")]


# The ledger, and batches


@pytest.mark.parametrize("kind", ["windows", "macos"])
def test_the_output_folder_in_another_case_is_the_same(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Desk(tmp_path, kind).at_it():
        (tmp_path / "Output").mkdir()
        for number, output in enumerate(("Output", "output")):
            (tmp_path / output / f"{number}.png").touch()
            Ledger(tmp_path / "ledger", tmp_path / output).record(made(1, number), [f"{number}.png"])
        for output in ("output", "OUTPUT"):
            assert len(Ledger(tmp_path / "ledger", tmp_path / output).page(Query()).images) == 2
        with sqlite3.connect(tmp_path / "ledger") as connection:
            assert connection.execute("SELECT count(*) FROM outputs WHERE path != ''").fetchone() == (1,)
        connection.close()


def test_a_batch_is_recorded_whatever_the_case_of_its_folder(macos: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    root = macos.root
    for name in ("Output/Night/images", "user"):
        (root / name).mkdir(parents=True)
    monkeypatch.setattr(record_command, "folders", lambda *_: Folders(root / "output", root / "user"))
    monkeypatch.setattr(record_command, "default_comfyui", lambda: root)
    one = row(0, folder=root / "Output" / "Night")
    Rows(root / "Output" / "Night" / "rows").add([replace(one, record=replace(one.record, digest="d"))])
    assert called(monkeypatch, "record", root / "Output" / "Night") == ""
    (image,) = Ledger(root / "user" / LOCATION, root / "Output").page(Query()).images
    assert image.file == f"Night/{one.record.file}"


def test_rows_are_merged_while_somebody_reads_them(windows: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MERGED_AT_ONCE", 3)
    kept = Rows(windows.root)
    kept.add([row(0)])
    kept.add([row(1)])
    first, _ = sorted(windows.root.iterdir())
    with windows.viewing(first):
        kept.add([row(2)])
        assert first.exists() and kept.table(["number"])["number"].to_pylist() == [0, 1, 2]
        kept.clean()
    kept.clean()
    assert names(windows.root) == ["000000000-000000002.parquet"]


def test_leftovers_that_are_open_are_no_error(windows: Desk) -> None:
    with marked(windows.root) as folder:
        windows.held.add(folder.path / folder.mark)
    batch = BatchFolder.__new__(BatchFolder)
    batch.path = windows.root
    batch.remove_unfinished()
    assert names(windows.root) == [folder.mark]
    windows.held.clear()
    batch.remove_unfinished()
    assert names(windows.root) == []


def test_a_temporary_folder_with_open_files_is_removed_later(windows: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary.tempfile, "tempdir", str(windows.root))
    own = TemporaryFolder()
    (own.path / "temp").mkdir()
    (own.path / "temp" / "a.png").touch()
    database = sqlite3.connect(own.path / "comfyui.db")
    database.execute("CREATE TABLE a (b)")
    own.remove()
    assert names(own.path) == ["comfyui.db", temporary.LOCK]
    remove_abandoned()
    assert own.path.is_dir()
    database.close()
    remove_abandoned()
    assert names(windows.root) == []


def test_maps_on_disk_are_deleted_once_they_are_free(windows: Desk) -> None:
    kept = room.Room(0, windows.root).zeros((2, 3))
    assert kept.sum() == 0 and len(names(windows.root)) == 1
    kept += 1
    del kept
    other = room.Room(0, windows.root).zeros((4,))
    assert len(names(windows.root)) == 1
    del other
    room._delete_what_is_free()
    assert names(windows.root) == []


def test_without_posix_fallocate_the_space_is_written(macos: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "AT_ONCE", 1000)
    with (macos.root / "a").open("w+b", buffering=0) as file:
        room._reserve(file.fileno(), 5432)
    assert (macos.root / "a").read_bytes() == bytes(5432)
    assert (macos.root / "a").stat().st_blocks * 512 >= 5432


def test_tables_are_named_as_every_system_takes_it(windows: Desk) -> None:
    Table('gains of my.judges:"best" and/or worse', ("a",), [(1,)]).write(windows.root)
    assert names(windows.root) == ["gains of my.judges--best- and-or worse.csv", "gains of my.judges--best- and-or worse.md"]
    assert read_table(windows.root, 'gains of my.judges:"best" and/or worse').rows == [(1,)]


def test_patience_ends(windows: Desk, impatient: None) -> None:
    path = windows.root / "a.png"
    path.touch()
    began = time.monotonic()
    with windows.viewing(path), pytest.raises(PermissionError, match=OPEN):
        in_use.when_free(path.unlink, path)
    assert time.monotonic() - began >= 0.2
