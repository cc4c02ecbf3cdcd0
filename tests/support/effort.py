"""What something costs, in measures that do not depend on what else the machine does."""

import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any
from unittest import mock

from PIL.ImageFile import ImageFile

STEPS = 100  # of the database between two looks


def calls(work: Callable[[], object]) -> int:
    """How many functions this thread calls while it works: Python's own and those written in C."""
    counted: Counter[str] = Counter()

    def count(_frame: FrameType, event: str, _about: object) -> None:
        counted[event] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counted["call"] + counted["c_call"]


def seconds(work: Callable[[], object], times: int = 5) -> float:
    """Processor time that this process needs, the least of several times. Compare it with other work's, never with a number."""
    return min(_seconds(work) for _ in range(times))


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@contextmanager
def decoded() -> Iterator[list[tuple[int, int]]]:
    """The sizes of the pictures whose pixels Pillow decodes from files meanwhile."""
    sizes: list[tuple[int, int]] = []
    load = ImageFile.load_prepare

    def noted(image: ImageFile) -> None:
        sizes.append(image.size)
        load(image)

    with mock.patch.object(ImageFile, "load_prepare", noted):
        yield sizes


@contextmanager
def database_steps() -> Iterator[Counter[str]]:
    """Counts the instructions that SQLite executes meanwhile in new connections, as ``steps``, rounded down to hundreds."""
    counted: Counter[str] = Counter()
    connect = sqlite3.connect

    def count() -> None:
        counted["steps"] += STEPS

    def connected(*args: Any, **more: Any) -> sqlite3.Connection:
        connection = connect(*args, **more)
        connection.set_progress_handler(count, STEPS)
        return connection

    with mock.patch.object(sqlite3, "connect", connected):
        yield counted
