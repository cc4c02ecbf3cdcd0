"""What a batch needs of memory does not grow with its images: planning, resuming and ranking."""

import multiprocessing
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from test_rows import plan, row

from uncertainty.choosing.cut import Rule
from uncertainty.choosing.rejecting import moving
from uncertainty_runs.rank import add_images
from uncertainty_runs.ranked_images import Ranking
from uncertainty_runs.rows import ROWS_AT_ONCE
from uncertainty_runs.run_folder import BatchFolder, image_of

FEW, MANY = 4 * ROWS_AT_ONCE, 8 * ROWS_AT_ONCE
STATUS = Path("/proc/self/status")


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


def arrow_kilobytes(work: Callable[[], object]) -> float:
    """The most that Arrow holds at once while something works."""
    before = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(before)
    pa.set_memory_pool(counted)
    try:
        work()
    finally:
        pa.set_memory_pool(before)
    return (counted.max_memory() or 0) / 1024


def process_kilobytes(work: Callable[..., object], *given: object) -> int:
    """How much the peak of a new process grows while it works, with what libraries such as SQLite hold."""
    if not STATUS.exists():
        pytest.skip("only Linux tells the peak of a process")
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(_grown, (work, *given))


def _grown(work: Callable[..., object], *given: object) -> int:
    before = _peak()
    work(*given)
    return _peak() - before


def _peak() -> int:
    (line,) = (line for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])


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


def test_ranking_in_the_database() -> None:
    """From where SQLite's caches are full."""
    assert process_kilobytes(rank, 64_000) < process_kilobytes(rank, 16_000) + 4000


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders of batches with few and many rows, without all files but two, by the number of jobs."""
    made = {}
    for count in (FEW, MANY):
        folder = BatchFolder(tmp_path_factory.mktemp("batch"), plan(count))
        folder.rows.add([row(0, place, folder=folder.path) for place in range(2)])
        for _ in range(0, count, ROWS_AT_ONCE):
            folder.rows.add([row(0, folder=None)] * ROWS_AT_ONCE)
        made[count] = folder.path
    return made


def resume(path: Path, count: int) -> None:
    assert sum(1 for _ in BatchFolder(path, plan(count)).missing()) == count - 1


def test_resuming(folders: dict[int, Path]) -> None:
    """Besides a byte for each job."""
    few, many = (kilobytes(lambda count=count: resume(folders[count], count)) for count in (FEW, MANY))
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


def test_resuming_in_arrow(folders: dict[int, Path]) -> None:
    few, many = (arrow_kilobytes(lambda count=count: resume(folders[count], count)) for count in (FEW, MANY))
    assert 0 < many < few + 100


def test_resuming_in_the_process(folders: dict[int, Path]) -> None:
    few, many = (process_kilobytes(resume, folders[count], count) for count in (FEW, MANY))
    assert 0 < many < few + 2000
