"""A worker: one ComfyUI in a process of Ray's."""

import platform
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from .. import drawing
from ..drawn_files import Drawn
from ..node_info import NodeInfo
from ..plan import Job
from ..rows import Row
from .shared_folder import MarkedFolder


class Renderer(drawing.Renderer, Protocol):
    """A renderer that knows beforehand what it lacks."""

    def check(self, job: Job) -> None:
        """Raise an error that says why a job cannot run, such as a model that is missing."""


class Worker:
    """Its methods run in several threads: while one job is sampled, the files of the one before are made and handed over.

    Args:
        make: makes the renderer.
    """

    def __init__(self, make: Callable[[], Renderer]) -> None:
        self._make = make
        self._made: Renderer | None = None
        self._failure: Exception | None = None
        self._making = threading.Lock()
        self._sampler = ThreadPoolExecutor(1, "sampler")  # one job at a time, in the order in which they come

    def ready(self) -> str:
        """Answers as soon as the process runs, with the name of the machine."""
        return platform.node()

    def renderer(self) -> Renderer:
        """The renderer, made when it is first asked for. If that failed, it fails again for the same reason."""
        with self._making:
            if self._failure is not None:
                raise self._failure
            if self._made is None:
                try:
                    self._made = self._make()
                except Exception as error:
                    self._failure = error
                    raise
            return self._made

    def prepare(self) -> None:
        """Start ComfyUI."""
        self.renderer()

    def check(self, job: Job) -> None:
        """Raise an error that says why this machine cannot run a job."""
        self.renderer().check(job)

    def describe(self, class_type: str) -> NodeInfo:
        """What ComfyUI says of a node class."""
        return self.renderer().describe(class_type)

    def draw(self, job: Job, folder: MarkedFolder) -> list[Row] | Drawn:
        """Run one job. Returns its rows if its files are in the folder, or else the files, which the driver writes.

        Raises:
            NotKept: the folder is on this machine, but a file cannot be written.
        """
        files = self._sampler.submit(self.renderer().sample, job, folder.path).result()
        drawn = files()
        return drawn.keep(folder.path) if folder.is_here() else drawn

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture into the input folder."""
        return self.renderer().upload(name, content, subfolder)

    def close(self) -> None:
        """Delete temporary files."""
        if self._made is not None:
            self._made.close()
