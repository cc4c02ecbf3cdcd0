"""Workers as they start and die: which of them can be given work, and which are too late."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from ..terminal import warn
from . import ray_cluster
from .ray_cluster import Cluster, WorkersError

POLL_SECONDS = 1.0


class Crew:
    """The workers of an engine: those whose process runs, and those that are starting.

    Args:
        cluster: where they run.
        create: makes an actor.
        count: how many.
    """

    def __init__(self, cluster: Cluster, create: Callable[[], Any], count: int) -> None:
        self.cluster, self.create, self.count = cluster, create, count
        self.started: list[Any] = []
        self._starting: dict[Any, tuple[Any, float]] = {}
        self._late: set[Any] = set()
        for _ in range(count):
            self._start()

    def _start(self) -> None:
        actor = self.create()
        self._starting[actor.ready.remote()] = actor, time.monotonic()

    def replace(self, actor: Any) -> None:
        """Start another worker for one that died."""
        self.started.remove(actor)
        self.cluster.ray.kill(actor)  # Ray may only have lost contact with it
        self._start()

    def wait(self, tasks: Sequence[Any]) -> tuple[Any | None, Any | None]:
        """Wait until a task has finished or a worker has started: that task, or that worker.

        Raises:
            WorkersError: no worker has started in time, or one ended while it started.
        """
        while True:
            poll = POLL_SECONDS if self._starting.keys() - self._late else None
            finished, _ = self.cluster.ray.wait([*self._starting, *tasks], timeout=poll)
            if finished and finished[0] in self._starting:
                return None, self._join(finished[0])
            self._check_late()
            if finished:
                return finished[0], None

    def _join(self, task: Any) -> Any:
        actor, _ = self._starting.pop(task)
        self._late.discard(task)
        try:
            self.cluster.ray.get(task)
        except self.cluster.ray.exceptions.RayError as error:
            raise WorkersError(f"a worker ended while it started: {error}\n{self.cluster.reasons()}") from error
        self.started.append(actor)
        return actor

    def _check_late(self) -> None:
        """Report workers that have not started in time, each once. The others go on; if there are none, that is an error."""
        now, limit = time.monotonic(), ray_cluster.START_SECONDS
        late = {task for task, (_, began) in self._starting.items() if now - began > limit}
        if late <= self._late:
            return
        self._late |= late
        text = f"{len(late)} of {self.count} workers have not started within {limit:g} seconds."
        if not self.started:
            raise WorkersError(f"{text}\n{self.cluster.reasons()}")
        warn(f"{text} The others continue.\n{self.cluster.reasons()}")
