"""Running the jobs whose results a folder lacks: engines generate the images, this process alone writes the rows."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from uncertainty.quantities import DEFAULT_QUANTITY
from uncertainty.storage.records import ImageRecord

from .drawn_files import Drawn
from .node_info import NodeInfo
from .plan import Job, Jobs
from .rows import Row
from .run_folder import BatchFolder, without_scores
from .terminal import printable, warn

# Rows are written this often. If the process is killed, the jobs since the last time are run again.
SECONDS_BETWEEN_WRITES = 10.0
LOCK = "run.lock"


class Renderer(Protocol):
    """One ComfyUI: a server, or one in this process."""

    def describe(self, class_type: str) -> NodeInfo:
        """What ComfyUI says of a node class; raises NodeError if it has none of that name."""

    def sample(self, job: Job, folder: Path) -> Callable[[], Drawn]:
        """Run one job of the batch in a folder, which is not touched: only its name may be used.

        The function that is returned makes the files. It may be called in another thread while the next job runs.
        """

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture into the input folder; returns the name that LoadImage knows it by."""

    def close(self) -> None:
        """Delete temporary files."""


class Engine(Protocol):
    """Runs jobs, on one renderer or several."""

    def describe(self, class_type: str) -> NodeInfo:
        """What ComfyUI says of a node class; raises NodeError if it has none of that name."""

    def draw_all(self, jobs: Iterable[Job], folder: Path) -> Iterator[list[Row]]:
        """The rows of each job, in the order in which jobs finish. Its files are complete when its rows are given."""

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture into every input folder; returns the name that LoadImage knows it by."""


class Progress:
    """A progress bar with the rate, the time left, and mean and standard deviation of the scores.

    Args:
        name: shown in front.
        jobs: number of all jobs.
        done: number of those that were finished before.
        quantity: whose scores are shown.
    """

    def __init__(self, name: str, jobs: int, done: int, quantity: str = DEFAULT_QUANTITY) -> None:
        from tqdm import tqdm  # ComfyUI brings it

        self.quantity = quantity
        self.bar = tqdm(total=jobs, initial=done, desc=name, unit="run", smoothing=0.05)
        self.images, self.mean, self.squares = 0, 0.0, 0.0

    def __call__(self, rows: Sequence[Row]) -> None:
        """Count one more job. Mean and standard deviation are updated as in Welford (1962)."""
        for row in rows:
            value = row.record.score(self.quantity)
            if value is not None:
                self.images += 1
                difference = value - self.mean
                self.mean += difference / self.images
                self.squares += difference * (value - self.mean)
        if self.images:
            deviation = math.sqrt(self.squares / self.images)
            self.bar.set_postfix_str(f"{self.quantity} {self.mean:.3g} ± {deviation:.2g}", refresh=False)
        self.bar.update()

    def close(self) -> None:
        """End the line."""
        self.bar.close()


def draw(engine: Callable[[], Engine], jobs: Jobs, path: Path, *, verify: bool = False) -> None:
    """Run the jobs whose results a folder lacks.

    Args:
        engine: makes the engine; called only if something is missing.
        jobs: the whole plan.
        path: the folder.
        verify: compare the checksums of existing files, not only their sizes.

    Raises:
        ValueError: the folder belongs to another plan.
        RuntimeError: another process writes to it.
        OSError: a file cannot be written. What was finished before is kept.
        Exception: whatever the engine raises; what was finished before is kept.
    """
    with _exclusive(path):
        folder = BatchFolder(path, jobs)
        missing = folder.missing(verify=verify)
        if missing:
            finished = engine().draw_all((jobs[number] for number in missing), path)
            _write_rows(folder, finished, Progress(printable(path.name), len(jobs), len(jobs) - len(missing)))
            folder.remove_unfinished()


def _write_rows(folder: BatchFolder, finished: Iterator[list[Row]], progress: Progress) -> None:
    waiting: list[Row] = []
    told: set[str] = set()
    written = time.monotonic()
    try:
        for rows in finished:
            waiting += rows
            _warn_without_map(rows, told)
            progress(rows)
            if time.monotonic() - written > SECONDS_BETWEEN_WRITES:
                folder.rows.add(waiting)
                waiting, written = [], time.monotonic()
    finally:
        progress.close()
        if waiting:
            folder.rows.add(waiting)


def _warn_without_map(rows: Sequence[Row], told: set[str]) -> None:
    """Say that images have no scores, once for each reason; ``told`` holds the reasons that were said."""
    first = rows[0]
    if first.why_no_map is not None and first.why_no_map not in told:
        told.add(first.why_no_map)
        warn(f"the images of run {first.record.number} are kept, but without scores, because {first.why_no_map}")


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Only one process writes a folder, and says whose it is. The system releases the lock when the process ends."""
    from filelock import FileLock, Timeout  # torch brings it

    path.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path / LOCK).acquire(timeout=0)
    except Timeout as error:
        raise RuntimeError(f"another process writes to {path}: wait until it ends, or give another folder.") from error
    with lock:
        yield


def collect(engine: Callable[[], Engine], jobs: Jobs, path: Path) -> list[ImageRecord]:
    """Run the jobs whose results a folder lacks, and return all its images in order. Arguments and errors as for ``draw``.

    Raises:
        ValueError: images have no scores.
    """
    draw(engine, jobs, path)
    if lost := without_scores(path, len(jobs)):
        raise ValueError(lost)
    return BatchFolder(path, jobs).drawn()
