"""Files of a job: made and written while the next is sampled, by the worker or by the driver, complete or not at all."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from patience import LIMIT_SECONDS, until
from uncertainty.storage.records import ImageRecord
from uncertainty_runs.drawn_files import Drawn, NotKept
from uncertainty_runs.engines.one_by_one import WAITING, OneByOne
from uncertainty_runs.engines.shared_folder import MarkedFolder, marked
from uncertainty_runs.engines.worker import Worker
from uncertainty_runs.plan import Job
from uncertainty_runs.rows import File, Row
from uncertainty_runs.run_folder import image_of, map_of

pytestmark = pytest.mark.usefixtures("each_desk")

JOBS = [Job(number, "a cat", number + 5, {}) for number in range(6)]


def drawn(number: int) -> Drawn:
    """Two images and their map."""
    names = [image_of(number, 0), image_of(number, 1), map_of(number)]
    contents = {name: f"content of {name}".encode() for name in names}
    first, second, kept_map = (File.of(name, content) for name, content in contents.items())
    record = ImageRecord({}, "f", "m", 0, number=number, seed=number + 5)
    rows = [Row(replace(record, place=place), file, kept_map, 1.0) for place, file in enumerate((first, second))]
    return Drawn(rows, contents)


class Renderer:
    """Its results are made at once; what happens when is told to the functions that a test sets."""

    def __init__(self) -> None:
        self.sampling: Callable[[int], object] = lambda number: None
        self.encoding: Callable[[int], object] = lambda number: None

    def sample(self, job: Job, folder: Path) -> Callable[[], Drawn]:
        self.sampling(job.number)

        def files() -> Drawn:
            self.encoding(job.number)
            return drawn(job.number)

        return files

    def describe(self, class_type: str) -> str:
        return class_type

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        return name


def collect(renderer: Renderer, folder: Path, finished: list[int]) -> None:
    """Draw everything, and note what is finished."""
    for rows in OneByOne(renderer).draw_all(JOBS, folder):
        finished += numbers([rows])


def numbers(rows: Iterable[list[Row]]) -> list[int]:
    return [each[0].record.number for each in rows]


def waits_for(event: threading.Event) -> None:
    assert event.wait(LIMIT_SECONDS)


def test_files_are_as_they_were_made(tmp_path: Path) -> None:
    rows = drawn(3).keep(tmp_path)
    assert rows == drawn(3).rows
    found = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == drawn(3).contents


def test_what_arrives_damaged_is_refused(tmp_path: Path) -> None:
    whole = drawn(3)
    for content in (b"short", whole.contents[image_of(3, 1)].replace(b"c", b"C", 1)):
        damaged = replace(whole, contents={**whole.contents, image_of(3, 1): content})
        with pytest.raises(NotKept, match=r"the files of run 3 \(seed 8\) cannot be kept: .*0000003_001\.png arrived damaged"):
            damaged.keep(tmp_path)
        assert not (tmp_path / image_of(3, 1)).exists()


def test_files_are_made_while_the_next_job_is_sampled(tmp_path: Path) -> None:
    """The files of a job wait until the next one is being sampled: one after the other, this would never end."""
    renderer, begun = Renderer(), [threading.Event() for _ in JOBS]
    renderer.sampling = lambda number: begun[number].set()
    renderer.encoding = lambda number: waits_for(begun[min(number + 1, len(JOBS) - 1)])
    assert numbers(OneByOne(renderer).draw_all(JOBS, tmp_path)) == list(range(len(JOBS)))


def test_no_more_than_a_few_finished_jobs_wait(tmp_path: Path) -> None:
    renderer, written, sampled = Renderer(), threading.Event(), list[int]()
    renderer.sampling, renderer.encoding = sampled.append, lambda number: waits_for(written)
    found = list[int]()
    drawing = threading.Thread(target=lambda: found.extend(numbers(OneByOne(renderer).draw_all(JOBS, tmp_path))))
    drawing.start()
    until(lambda: len(sampled) > WAITING)
    drawing.join(0.5)  # time enough to sample all of them, were there no limit
    assert len(sampled) == WAITING + 1 < len(JOBS)
    written.set()
    drawing.join(LIMIT_SECONDS)
    assert found == list(range(len(JOBS)))


def test_an_error_of_the_writer_names_its_job_and_keeps_the_jobs_before(tmp_path: Path) -> None:
    blocked = tmp_path / image_of(2, 1)
    blocked.mkdir(parents=True)
    finished = list[int]()
    with pytest.raises(NotKept, match=r"the files of run 2 \(seed 7\) cannot be kept: .*0000002_001\.png"):
        collect(Renderer(), tmp_path, finished)
    assert finished[:2] == [0, 1] and 2 not in finished
    assert all((tmp_path / name).is_file() for number in finished for name in drawn(number).contents)


def test_an_error_of_the_sampler_keeps_the_jobs_before(tmp_path: Path) -> None:
    def stops(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    renderer, finished = Renderer(), list[int]()
    renderer.sampling = stops
    with pytest.raises(KeyboardInterrupt):
        collect(renderer, tmp_path, finished)
    assert finished == [0, 1, 2]


def test_a_worker_writes_where_it_sees_the_folder_and_hands_over_elsewhere(tmp_path: Path) -> None:
    worker = Worker(Renderer)
    with marked(tmp_path) as here:
        assert worker.draw(JOBS[0], here) == drawn(0).rows
        assert (tmp_path / image_of(0, 0)).is_file()
        elsewhere = replace(here, mark="0" * 32 + ".part")  # the same path on another machine, with another mark or none
        answer = worker.draw(JOBS[1], elsewhere)
    assert isinstance(answer, Drawn) and not (tmp_path / image_of(1, 0)).exists()
    assert answer.keep(tmp_path) == drawn(1).rows
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_a_worker_makes_no_folder(tmp_path: Path) -> None:
    assert isinstance(Worker(Renderer).draw(JOBS[0], MarkedFolder(tmp_path / "of the driver", "mark.part")), Drawn)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_samples_while_it_makes_files(tmp_path: Path) -> None:
    renderer, second = Renderer(), threading.Event()
    renderer.sampling = lambda number: number and second.set()
    renderer.encoding = lambda number: waits_for(second)
    worker, answers = Worker(lambda: renderer), list[object]()
    with marked(tmp_path) as folder:
        threads = [threading.Thread(target=lambda job=job: answers.append(worker.draw(job, folder))) for job in JOBS[:2]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_SECONDS)
    assert len(answers) == 2
