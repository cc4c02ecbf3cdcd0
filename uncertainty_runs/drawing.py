"""Drawing what a folder lacks: one worker or many do the jobs, one process keeps the rows."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from uncertainty.quantities import DEFAULT_QUANTITY
from uncertainty.storage.records import ImageRecord

from .plan import Job, Jobs
from .rows import Row
from .run_folder import BatchFolder

# What is drawn within so many seconds is drawn again after a killed process, not after one that was asked to stop.
ADDED_EVERY = 10.0
LOCK = "run.lock"


class Renderer(Protocol):
    """One ComfyUI: a running one, or one in this process."""

    def draw(self, job: Job, folder: Path) -> list[Row]:
        """Draw one job: its files are whole when its rows come back."""

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture where LoadImage finds it; answers with what LoadImage calls it."""

    def close(self) -> None:
        """Leave nothing behind."""


class Engine(Protocol):
    """Something that draws jobs, in any order."""

    def draw_all(self, jobs: Iterable[Job], folder: Path) -> Iterator[list[Row]]:
        """The rows of each job, as they are done."""

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture where LoadImage finds it, for every worker."""


class OneByOne:
    """Job after job on one renderer.

    Args:
        renderer: the one.
    """

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer
        self.upload = renderer.upload

    def draw_all(self, jobs: Iterable[Job], folder: Path) -> Iterator[list[Row]]:
        """The rows of each job."""
        return (self.renderer.draw(job, folder) for job in jobs)


class Progress:
    """A line with rate, time left and the scores so far.

    Args:
        name: of what is drawn.
        jobs: how many there are.
        done: how many were there already.
        quantity: whose scores are told.
    """

    def __init__(self, name: str, jobs: int, done: int, quantity: str = DEFAULT_QUANTITY) -> None:
        from tqdm import tqdm  # ComfyUI brings it

        self.quantity = quantity
        self.bar = tqdm(total=jobs, initial=done, desc=name, unit="run", smoothing=0.05)
        self.images, self.mean, self.squares = 0, 0.0, 0.0

    def __call__(self, rows: Sequence[Row]) -> None:
        """One job more. Mean and spread as Welford (1962) keeps them."""
        for row in rows:
            value = row.record.score(self.quantity)
            if value is not None:
                self.images += 1
                away = value - self.mean
                self.mean += away / self.images
                self.squares += away * (value - self.mean)
        if self.images:
            spread = math.sqrt(self.squares / self.images)
            self.bar.set_postfix_str(f"{self.quantity} {self.mean:.3g}, spread {spread:.2g}", refresh=False)
        self.bar.update()

    def close(self) -> None:
        """Leave the line as it is."""
        self.bar.close()


def draw(engine: Callable[[], Engine], jobs: Jobs, path: Path, *, verify: bool = False) -> None:
    """Draw what the folder lacks.

    Args:
        engine: what makes the engine; it is asked for only if something is missing.
        jobs: all of it.
        path: the folder.
        verify: whether the checksums of what is there are compared.

    Raises:
        ValueError: the folder holds something else.
        RuntimeError: another process draws into it.
        OSError: a file cannot be written. What was drawn before is kept.
        Exception: whatever the engine raises; likewise.
    """
    folder = BatchFolder(path, jobs)
    with _alone(path):
        missing = folder.missing(verify=verify)
        if not missing:
            return
        working = engine()
        progress = Progress(path.name, len(jobs), len(jobs) - len(missing))
        waiting: list[Row] = []
        added = time.monotonic()
        try:
            for rows in working.draw_all((jobs[number] for number in missing), path):
                waiting += rows
                progress(rows)
                if time.monotonic() - added > ADDED_EVERY:
                    folder.rows.add(waiting)
                    waiting, added = [], time.monotonic()
        finally:
            progress.close()
            if waiting:
                folder.rows.add(waiting)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Rows have one writer. The system gives the lock back when its process ends, however it does."""
    from filelock import FileLock, Timeout  # torch brings it

    try:
        lock = FileLock(path / LOCK).acquire(timeout=0)
    except Timeout as error:
        raise RuntimeError(f"another process draws into {path} already: wait for it, or give another folder.") from error
    with lock:
        yield


def collect(engine: Callable[[], Engine], jobs: Jobs, path: Path) -> list[ImageRecord]:
    """Draw what the folder lacks, and give all of it, in order. Arguments and errors as ``draw``."""
    draw(engine, jobs, path)
    return BatchFolder(path, jobs).drawn()
