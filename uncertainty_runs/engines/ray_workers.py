"""Many workers: one Ray actor a GPU, or a share of the processors, each with one ComfyUI.

Ray restarts an actor that dies and gives it its job again; which job comes next, and what is kept, is decided by the driver.
"""

import os
import platform
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..drawing import Renderer
from ..plan import Job
from ..rows import Row

PACK = Path(__file__).resolve().parents[2]
# A job whose worker died so often is not tried again: most likely it does not fit the memory.
TRIES = 3
SECONDS_TO_CLOSE = 2.0


class WorkersError(RuntimeError):
    """Workers cannot be had, or died; the message says why and what to do."""


class Worker:
    """One ComfyUI in a process of Ray's.

    Args:
        make: makes the renderer.
    """

    def __init__(self, make: Callable[[], Renderer]) -> None:
        self._make = make
        self._made: Renderer | None = None

    def renderer(self) -> Renderer:
        """Made by the first task: what goes wrong is then told as it is, not as the death of an actor."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def draw(self, job: Job, folder: Path) -> list[Row]:
        """Draw one job.

        Raises:
            WorkersError: the folder is another machine's.
        """
        if not folder.is_dir():
            raise WorkersError(
                f"{folder} is not there on {platform.node()}: --output must lie on a disk that all machines share."
            )
        return self.renderer().draw(job, folder)

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture where LoadImage finds it."""
        return self.renderer().upload(name, content, subfolder)

    def close(self) -> None:
        """Leave nothing behind."""
        if self._made is not None:
            self._made.close()


class RayEngine:
    """Actors of a cluster, or of this machine.

    Args:
        make: makes a worker's renderer, there.
        workers: how many; one a GPU if None.
        address: of a running cluster; a cluster of this machine alone if None.

    Raises:
        WorkersError: Ray is missing, or there is no such cluster.
    """

    def __init__(self, make: Callable[[], Renderer], workers: int | None = None, address: str | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise WorkersError(
                "more than one worker needs Ray: pip install ray, or leave --workers and --address out."
            ) from error
        self.ray = ray
        # The pack's modules, in every worker.
        path = os.pathsep.join([str(PACK), *filter(None, [os.environ.get("PYTHONPATH")])])
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            local = {} if address else {"include_dashboard": False}
            environment = {"env_vars": {"PYTHONPATH": path}}
            ray.init(address or "local", log_to_driver=False, logging_level="ERROR", runtime_env=environment, **local)
        except (ConnectionError, ValueError) as error:
            raise WorkersError(f"no Ray cluster at --address {address} ({error}).") from error
        having = ray.cluster_resources()
        gpus = int(having.get("GPU", 0))
        self.workers = workers or gpus or 1
        share = {"num_gpus": 1} if gpus else {"num_cpus": max(1, int(having["CPU"]) // self.workers)}
        most = gpus or int(having["CPU"])
        if self.workers > most:
            raise WorkersError(
                f"--workers must be at most {most}, one {'GPU' if gpus else 'processor'} each, got {self.workers}."
            )
        actor = ray.remote(max_restarts=-1, max_task_retries=TRIES - 1, **share)(Worker)
        self.actors = [actor.remote(make) for _ in range(self.workers)]

    def draw_all(self, jobs: Iterable[Job], folder: Path) -> Iterator[list[Row]]:
        """The rows of each job, as they are done. A worker gets its next job while it still draws one.

        Raises:
            WorkersError: a worker died again and again, or cannot start.
            Exception: what a worker raised.
        """
        waiting, path = iter(jobs), folder.resolve()
        running: dict[Any, tuple[Any, Job]] = {}

        def start(actor: Any) -> None:
            job = next(waiting, None)
            if job is not None:
                running[actor.draw.remote(job, path)] = actor, job

        for actor in self.actors * 2:
            start(actor)
        while running:
            (done,), _ = self.ray.wait(list(running))
            actor, job = running.pop(done)
            try:
                rows: list[Row] = self._answer(done)
            except (self.ray.exceptions.RayActorError, self.ray.exceptions.OutOfMemoryError) as error:
                raise WorkersError(
                    f"a worker died {TRIES} times at run {job.number} ({job.prompt!r}, seed {job.seed}): most likely it ran out "
                    f"of memory; give fewer --workers, or a smaller --batch and another folder. Ray says: {error}"
                ) from error
            start(actor)
            yield rows

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture where LoadImage finds it, for every worker; one after the other, as some share a folder."""
        found: list[str] = [self._answer(actor.upload.remote(name, content, subfolder)) for actor in self.actors]
        return found[0]

    def _answer(self, task: Any) -> Any:
        """What a task returned; what it raised is raised here, without Ray's frame around it."""
        try:
            return self.ray.get(task)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from None

    def close(self) -> None:
        """End the workers, and the cluster if it is this machine's."""
        closed = [actor.close.remote() for actor in self.actors]
        self.ray.wait(closed, num_returns=len(closed), timeout=SECONDS_TO_CLOSE)  # one that still draws is ended as it is
        self.ray.shutdown()
