"""Several workers: one Ray actor for each GPU, or for a share of the processors, with one ComfyUI in each.

The driver decides which worker runs which job, keeps the results, and replaces workers that die.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..drawing import Renderer
from ..node_info import NodeInfo
from ..plan import Job
from ..rows import Row
from .crew import Crew
from .ray_cluster import Cluster, WorkersError

# A job whose worker died this often is not tried again: most likely it does not fit into memory.
TRIES = 3
# Jobs of a worker: it runs one while the next is on its way.
AHEAD = 2
CLOSE_SECONDS = 2.0


class Worker:
    """One ComfyUI in a process of Ray's.

    Args:
        make: makes the renderer.
    """

    def __init__(self, make: Callable[[], Renderer]) -> None:
        self._make = make
        self._made: Renderer | None = None
        self._failure: Exception | None = None

    def ready(self) -> None:
        """Answers as soon as the process runs."""

    def renderer(self) -> Renderer:
        """The renderer, made when it is first asked for. If that failed, it fails again for the same reason."""
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

    def describe(self, class_type: str) -> NodeInfo:
        """What ComfyUI says of a node class."""
        return self.renderer().describe(class_type)

    def draw(self, job: Job, folder: Path) -> list[Row]:
        """Run one job.

        Raises:
            WorkersError: the folder is not on this machine.
        """
        if not folder.is_dir():
            raise WorkersError(
                f"{folder} does not exist on {platform.node()}: --output must be on a disk that all machines share."
            )
        return self.renderer().draw(job, folder)

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture into the input folder."""
        return self.renderer().upload(name, content, subfolder)

    def close(self) -> None:
        """Delete temporary files."""
        if self._made is not None:
            self._made.close()


class Queue:
    """Jobs that no worker has, those of dead workers first."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._jobs, self._again = iter(jobs), list[Job]()
        self._deaths: Counter[int] = Counter()
        self.empty = False

    def take(self) -> Job | None:
        """The next job, None if there is none."""
        job = self._again.pop(0) if self._again else next(self._jobs, None)
        self.empty = job is None
        return job

    def put_back(self, lost: Sequence[Job], error: Exception) -> None:
        """Jobs of a worker that died while it ran the first of them.

        Raises:
            WorkersError: that one has been tried often enough.
        """
        job = lost[0]
        self._deaths[job.number] += 1
        if self._deaths[job.number] == TRIES:
            raise WorkersError(
                f"a worker died {TRIES} times in run {job.number} (prompt {job.prompt!r}, seed {job.seed}): most likely it ran "
                f"out of memory. Give fewer --workers, or a smaller --batch and another folder. Ray says: {error}"
            ) from error
        self._again += lost
        self.empty = False


class RayEngine:
    """Runs jobs on the workers of a cluster.

    Args:
        make: makes the renderer of a worker, in its process.
        workers: how many; None for one per GPU.
        address: of a running cluster; None for a cluster of this machine alone.

    Raises:
        WorkersError: Ray is missing, there is no such cluster, or it has no room for so many workers.
    """

    def __init__(self, make: Callable[[], Renderer], workers: int | None = None, address: str | None = None) -> None:
        self.cluster = Cluster(address)
        self.ray = self.cluster.ray
        count, resources = self.cluster.resources(workers)
        actor = self.ray.remote(**resources)(Worker)
        self.crew = Crew(self.cluster, lambda: actor.remote(make), count)
        self._uploads: list[tuple[str, bytes, str]] = []

    def describe(self, class_type: str) -> NodeInfo:
        """What the ComfyUI of a worker says of a node class; raises NodeError if it has none of that name."""
        described: NodeInfo = self._ask(self._first().describe.remote(class_type))
        return described

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture into the input folder of every worker, of later ones when they start."""
        self._first()
        self._uploads.append((name, content, subfolder))
        # One after the other, since some share a folder.
        names: list[str] = [self._ask(worker.upload.remote(name, content, subfolder)) for worker in self.crew.started]
        return names[0]

    def draw_all(self, jobs: Iterable[Job], folder: Path) -> Iterator[list[Row]]:
        """The rows of each job, in the order in which jobs finish.

        Raises:
            WorkersError: no worker starts, or one died several times with the same job.
            Exception: what a worker raised.
        """
        queue, path = Queue(jobs), folder.resolve()
        running: dict[Any, tuple[Any, Job]] = {}
        self._first()
        while True:
            self._assign(queue, running, path)
            if not running and queue.empty:
                return
            task, started = self.crew.wait(list(running))
            if started is not None:
                self._prepare(started)
                continue
            worker, _ = running[task]
            try:
                rows: list[Row] = self._answer(task)
            except (self.ray.exceptions.RayActorError, self.ray.exceptions.OutOfMemoryError) as error:
                lost = {task: job for task, (other, job) in running.items() if other is worker}
                queue.put_back(list(lost.values()), error)
                for each in lost:
                    del running[each]
                self.crew.replace(worker)
                continue
            del running[task]
            yield rows

    def _assign(self, queue: Queue, running: dict[Any, tuple[Any, Job]], folder: Path) -> None:
        """Give every worker a job, then a second one."""
        assigned = Counter(worker for worker, _ in running.values())
        for most in range(1, AHEAD + 1):
            for worker in self.crew.started:
                if assigned[worker] < most and (job := queue.take()) is not None:
                    running[worker.draw.remote(job, folder)] = worker, job
                    assigned[worker] += 1

    def _first(self) -> Any:
        """A worker, as soon as one has started."""
        while not self.crew.started:
            _, started = self.crew.wait([])
            self._prepare(started)
        return self.crew.started[0]

    def _prepare(self, worker: Any) -> None:
        """Let a new worker start its ComfyUI while the driver does other things, and give it the pictures of the others."""
        worker.prepare.remote()  # a failure comes again with its first job
        for each in self._uploads:
            self._ask(worker.upload.remote(*each))

    def _ask(self, task: Any) -> Any:
        """The answer of a worker that has no job yet."""
        try:
            return self._answer(task)
        except self.ray.exceptions.RayActorError as error:
            raise WorkersError(f"a worker died while its ComfyUI started: {error}\n{self.cluster.reasons()}") from error

    def _answer(self, task: Any) -> Any:
        """What a task returned. What it raised is raised here, without Ray's frame around it."""
        try:
            return self.ray.get(task)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from None

    def close(self) -> None:
        """End the workers, and the cluster if it was started here."""
        closing = [worker.close.remote() for worker in self.crew.started]
        if closing:
            self.ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)  # one in the middle of a job is ended
        self.cluster.close()
