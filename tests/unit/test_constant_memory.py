"""What a batch needs of memory does not grow with its images: planning, resuming and ranking."""

import sys
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from test_rows import plan, row

from uncertainty.choosing.cut import Rule
from uncertainty.choosing.rejecting import moving
from uncertainty_runs.rank import add_images
from uncertainty_runs.ranked_images import Ranking
from uncertainty_runs.rows import ROWS_AT_ONCE
from uncertainty_runs.run_folder import BatchFolder, image_of

FEW, MANY = 2 * ROWS_AT_ONCE, 4 * ROWS_AT_ONCE


def kilobytes(work: Callable[[], object]) -> float:
    """The most that Python holds at once while it works."""
    tracemalloc.start()
    work()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 1024


def test_planning() -> None:
    def look(count: int) -> None:
        assert sum(1 for _ in plan(count)) == count

    look(10)  # what is made once
    assert kilobytes(lambda: look(4000)) < kilobytes(lambda: look(1000)) + 40


def rank(count: int) -> None:
    with closing(Ranking(Rule(), "denoised_variance", across_prompts=True)) as ranking:
        for number in range(count):
            ranking.add(row(number % 1000, score=float(number * 37 % 1000)).record)
        ranking.sort()
        for group in ranking.groups():
            assert sum(1 for _ in ranking.images(group)) == count
        assert sum(1 for _ in ranking.rejected()) == count - 1


def test_ranking() -> None:
    rank(10)  # what is made once
    assert kilobytes(lambda: rank(4000)) < kilobytes(lambda: rank(1000)) + 40


def test_resuming(tmp_path: Path) -> None:
    """Besides a byte for each job."""

    def resume(folder: BatchFolder) -> None:
        assert sum(1 for _ in folder.missing()) == len(folder.jobs) - 1  # there are no files

    folders = []
    for count in (FEW, MANY):
        folders.append(BatchFolder(tmp_path / str(count), plan(count)))
        folders[-1].rows.add([row(0, place, folder=folders[-1].path) for place in range(2)])
        for first in range(0, count, ROWS_AT_ONCE):
            folders[-1].rows.add([row(0, folder=None) for _ in range(first, first + ROWS_AT_ONCE)])
    few, many = (kilobytes(lambda folder=folder: resume(folder)) for folder in folders)
    assert many < few + (MANY - FEW) / 1024 + 100


def test_no_name_of_a_file_is_interned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.12 never forgets what was interned, others rebuild the table of all that is; a ``Path`` interns its names."""
    folder = BatchFolder(tmp_path, plan(4))
    folder.rows.add([row(number, folder=tmp_path) for number in range(4)])
    rejected = [tmp_path / image_of(number, 0) for number in (2, 3)]
    with moving(tmp_path, rejected[0].parent) as mover:
        for path in rejected:
            mover.reject(path.name)
    interned: list[str] = []
    monkeypatch.setattr(sys, "intern", lambda text: interned.append(text) or text)
    assert len(folder.missing()) == len(folder.missing(verify=True)) == 0
    with closing(Ranking(Rule(), "denoised_variance", across_prompts=True)) as ranking:
        add_images(ranking, tmp_path)
        assert ranking.count == 2
    assert not [name for name in interned if name.endswith(".png")]
