"""The process is killed at any line of what writes: files are whole or absent, and the ledger is one that can be gone on with."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from made_maps import made
from uncertainty.calibration import Calibration
from uncertainty.choosing.rejecting import LOCK, Mover, moving
from uncertainty.quantities import QUANTITIES
from uncertainty.storage import tensor_files
from uncertainty.storage.ledger import Ledger, Query
from uncertainty.storage.records import ImageRecord
from uncertainty_runs.rows import MERGED_AT_ONCE, File, Row, Rows

WRITERS = ("migrations.py", "atomic.py", "tensor_files.py", "rejecting.py", "ledger.py", "rows.py")
# Of rows.py: hundreds of lines that write nothing.
READING = ("_schema", "_read", "_parts", "_path", "flat", "<listcomp>", "<genexpr>")
MOST_LINES = 800
MOST_SECONDS = 60


def killed_at_every_line(does: Callable[[], object], check: Callable[[], object]) -> int:
    """Do it in a child that is killed at the first line, then at the second, … until it lives; check after each."""
    for line in range(1, MOST_LINES):
        child = os.fork()
        if child == 0:  # nothing of pytest may run here, whatever happens
            try:
                signal.alarm(MOST_SECONDS)
                _kill_at(line)
                does()
                sys.settrace(None)
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        check()
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return line - 1
        assert os.WTERMSIG(status) == signal.SIGKILL
    raise AssertionError(f"it has more than {MOST_LINES} lines")


def _kill_at(wanted: int) -> None:
    seen = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen
        code = frame.f_code
        if not code.co_filename.endswith(WRITERS) or code.co_name in READING:
            return None
        if event == "line":
            seen += 1
            if seen == wanted:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def test_a_map_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    before, after = made(2), made(2, 1)

    def check() -> None:
        if path.exists():
            found = tensor_files.load_map(path)
            assert found.settings["seed"] in (0, 1)
            expected = after if found.settings["seed"] else before
            assert torch.equal(found.values, expected.values)

    assert killed_at_every_line(lambda: tensor_files.save_map(path, before), check) > 10
    assert tensor_files.load_map(path).settings["seed"] == 0
    assert killed_at_every_line(lambda: tensor_files.save_map(path, after), check) > 10
    assert tensor_files.load_map(path).settings["seed"] == 1


def test_a_calibration_loses_at_most_its_last_images(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    first = Calibration.like(made(2)).add(made(2))
    tensor_files.save_calibration(path, first)
    second = first.add(made(2, 1))

    def check() -> None:
        assert tensor_files.load_calibration(path).count in (2, 4)
        assert load_file(path)

    killed_at_every_line(lambda: tensor_files.save_calibration(path, second), check)
    assert tensor_files.load_calibration(path).count == 4


def test_a_file_that_is_moved_is_always_there(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    away = tmp_path / "rejected" / "a.png"

    def check() -> None:
        there = [place for place in (file, away) if place.exists()]
        assert there
        assert all(place.read_text() == "picture" for place in there)

    def move(action: Callable[[Mover, str], Path]) -> None:
        with moving(tmp_path, tmp_path) as mover:
            action(mover, "a.png")

    file.write_text("picture")
    assert killed_at_every_line(lambda: move(Mover.reject) if file.exists() else None, check) > 10
    assert not file.exists()
    killed_at_every_line(lambda: move(Mover.restore) if away.exists() else None, check)
    assert not away.exists()
    assert sorted(path.name for path in tmp_path.rglob("*")) == [LOCK, "a.png", "rejected"]


def test_the_ledger_has_all_images_of_a_run_or_none(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    names = ["a.png", "b.png", "c.png"]

    def check() -> None:
        assert ledger.page(Query()).total in (0, 3)

    assert killed_at_every_line(lambda: ledger.record(made(3), names), check) > 50
    assert [entry.file for entry in ledger.page(Query(sort="score", order="asc")).images] == names
    number = ledger.page(Query()).images[0].id

    def check_moved() -> None:
        (entry,) = ledger.find([number])
        assert (entry.file, entry.state) in [("rejected/a.png", "rejected"), *((name, "unreviewed") for name in names)]

    killed_at_every_line(lambda: ledger.change(number, file="rejected/a.png", state="rejected"), check_moved)
    assert ledger.find([number])[0].state == "rejected"


def test_the_child_reports_what_fails(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError

    with pytest.raises(AssertionError):
        killed_at_every_line(fail, lambda: None)


def test_rows_are_added_or_not_and_never_twice(tmp_path: Path) -> None:
    """The last addition makes a merge of sixteen, which is cut off at every line too."""
    first = Rows(tmp_path / "first")
    for number in range(MERGED_AT_ONCE - 1):
        first.add([_row(number)])
    folder = tmp_path / "rows"

    def again() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "first", folder)

    def check() -> None:
        found = Rows(folder).table(["number"])["number"].to_pylist()
        assert found in (list(range(MERGED_AT_ONCE - 1)), list(range(MERGED_AT_ONCE)))
        Rows(folder).clean()
        assert Rows(folder).table(["number"])["number"].to_pylist() == found
        again()

    again()
    assert killed_at_every_line(lambda: Rows(folder).add([_row(MERGED_AT_ONCE - 1)]), check) > 50


def _row(number: int) -> Row:
    record = ImageRecord(dict.fromkeys(QUANTITIES, (1.0, 0.1)), "f", "m", 0, number=number, prompt="a cat", seed=1, file="a.png")
    return Row(record, File("a.png", 1, ""), None, 1.0)
