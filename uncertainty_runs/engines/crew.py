"""Workers as they start and die: which of them can be given work, and which are too late."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from ..terminal import warn
from . import ray_cluster
from .ray_cluster import Cluster, WorkersError

POLL_SECONDS = 1.0
# So long the first job waits for processes to start, so that every machine can say what it lacks.
GATHER_SECONDS = 30.0
# The cluster is asked this often whether machines have joined it.
GROW_SECONDS = 5.0


class Crew:
    """The workers of an engine: those whose ComfyUI runs, and those that are starting.

    Args:
        cluster: where they run.
        create: makes an actor.
        wanted: how many there should be; it may grow as machines join the cluster.
    """

    def __init__(self, cluster: Cluster, create: Callable[[], Any], wanted: Callable[[], int]) -> None:
        self.cluster, self.create, self.wanted = cluster, create, wanted
        self.started: list[Any] = []
        self.machines: dict[Any, str] = {}
        self.count = 0
        self._starting: dict[Any, tuple[Any, float]] = {}  # their process does not run yet
        self._preparing: dict[Any, Any] = {}  # their ComfyUI does not run yet
        self._late: set[Any] = set()
        self._grown = 0.0
        self._grow()

    def _grow(self) -> None:
        self._grown = time.monotonic()
        while self.count < self.wanted():
            self.count += 1
            self._start()

    def _start(self) -> None:
        actor = self.create()
        self._starting[actor.ready.remote()] = actor, time.monotonic()

    def replace(self, actor: Any) -> None:
        """Start another worker for one that died."""
        self.dismiss(actor)
        self._start()

    def dismiss(self, actor: Any) -> None:
        """End a worker. No other starts for it."""
        self.started.remove(actor)
        self.cluster.ray.kill(actor)  # Ray may only have lost contact with it

    def awaited(self) -> bool:
        """Whether a ComfyUI is starting, or a process that may still come soon: others may wait for a GPU that is in use."""
        now = time.monotonic()
        return bool(self._preparing) or any(now - began < GATHER_SECONDS for _, began in self._starting.values())

    def wait(self, tasks: Sequence[Any]) -> tuple[Any | None, Any | None]:
        """Wait for a moment, or until a task has finished or the ComfyUI of a worker has started or failed.

        Returns:
            That task, or that worker; neither if it was only a moment.

        Raises:
            WorkersError: no worker has started in time.
        """
        if time.monotonic() - self._grown > GROW_SECONDS:
            self._grow()
        finished, _ = self.cluster.ray.wait([*self._starting, *self._preparing, *tasks], timeout=POLL_SECONDS)
        task = finished[0] if finished else None
        if task in self._starting:
            self._arrived(task)
            return None, None
        self._check_late()
        if task in self._preparing:
            worker = self._preparing.pop(task)
            self.started.append(worker)
            return None, worker
        return task, None

    def _arrived(self, task: Any) -> None:
        """The process of a worker runs: let it start its ComfyUI."""
        actor, _ = self._starting.pop(task)
        self._late.discard(task)
        try:
            self.machines[actor] = self.cluster.ray.get(task)
        except self.cluster.ray.exceptions.RayError:
            self.machines[actor] = "a machine"  # what follows fails for the same reason, which says which
        self._preparing[actor.prepare.remote()] = actor

    def _check_late(self) -> None:
        """Report workers that have not started in time, each once. The others go on; if there are none, that is an error."""
        now, limit = time.monotonic(), ray_cluster.START_SECONDS
        late = {task for task, (_, began) in self._starting.items() if now - began > limit}
        if late <= self._late:
            return
        self._late |= late
        text = f"{len(late)} of {self.count} workers have not started within {limit:g} seconds."
        if not self.started and not self._preparing:
            raise WorkersError(f"{text}\n{self.cluster.reasons()}")
        warn(f"{text} The others continue.\n{self.cluster.reasons()}")
