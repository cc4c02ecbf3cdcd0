"""Jobs one after the other on one renderer. The files of a job are made and written while the next one is sampled."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ..drawing import Renderer
from ..drawn_files import Drawn
from ..plan import Job
from ..rows import Row

# Finished jobs whose files are not written yet. With more, sampling waits, so that they cannot fill the memory.
WAITING = 2


class OneByOne:
    """An engine with one renderer."""

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer
        self.describe, self.upload = renderer.describe, renderer.upload

    def draw_all(self, jobs: Iterable[Job], folder: Path) -> Iterator[list[Row]]:
        """The rows of each job, in order.

        Raises:
            NotKept: the files of a job cannot be written.
            Exception: what the renderer raised, after the rows of the jobs before.
        """
        with ThreadPoolExecutor(1, "writer") as writer:
            waiting = deque[Future[list[Row]]]()
            try:
                for job in jobs:
                    waiting.append(writer.submit(_keep, self.renderer.sample(job, folder), folder))
                    while waiting and (len(waiting) > WAITING or waiting[0].done()):
                        yield waiting.popleft().result()
            except GeneratorExit:
                raise
            except BaseException:
                with suppress(Exception):  # the first error is the one to report
                    yield from _results(waiting)
                raise
            yield from _results(waiting)


def _keep(files: Callable[[], Drawn], folder: Path) -> list[Row]:
    return files().keep(folder)


def _results(waiting: deque[Future[list[Row]]]) -> Iterator[list[Row]]:
    while waiting:
        yield waiting.popleft().result()
