"""Several workers: one Ray actor for each GPU, or for a share of the processors, with one ComfyUI in each.

The driver decides which worker runs which job, keeps the results, and replaces workers that die.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from ..drawn_files import Drawn
from ..node_info import NodeError, NodeInfo
from ..plan import Job
from ..rows import Row
from ..terminal import warn
from .crew import Crew
from .job_queue import TRIES, Queue
from .ray_cluster import Cluster, WorkersError
from .shared_folder import MarkedFolder, marked
from .worker import Renderer, Worker

# Jobs of a worker: it samples one while the files of another are made and handed over, and the next is on its way. This is also
# how many finished jobs can wait in its memory.
AHEAD = 3
# A thread for each of them, and one for questions.
THREADS = AHEAD + 1
CLOSE_SECONDS = 2.0


class RayEngine:
    """Runs jobs on the workers of a cluster.

    Args:
        make: makes the renderer of a worker, in its process.
        workers: how many; None for one per GPU, also of machines that join later.
        address: of a running cluster; None for a cluster of this machine alone.

    Raises:
        WorkersError: Ray is missing, there is no such cluster, or it has no room for so many workers.
    """

    def __init__(self, make: Callable[[], Renderer], workers: int | None = None, address: str | None = None) -> None:
        self.cluster, self.is_alone = Cluster(address), address is None
        self.ray = self.cluster.ray
        count, resources = self.cluster.resources(workers)
        actor = self.ray.remote(max_concurrency=THREADS, **resources)(Worker)
        is_fixed = workers is not None or "num_gpus" not in resources
        wanted = (lambda: count) if is_fixed else (lambda: max(count, self.cluster.gpus()))
        self.crew = Crew(self.cluster, lambda: actor.remote(make), wanted)
        self._uploads: list[tuple[str, bytes, str]] = []
        self._first: Job | None = None
        self._lacking: dict[str, str] = {}
        self._ended = 0

    def describe(self, class_type: str) -> NodeInfo:
        """What the ComfyUI of a worker says of a node class; raises NodeError if it has none of that name."""
        worker = self._assembled()[0]
        try:
            described: NodeInfo = self._ask(worker.describe.remote(class_type))
        except NodeError as error:
            if self.is_alone:
                raise
            raise NodeError(f"{self.crew.machines[worker]}: {error}") from error
        return described

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture into the input folder of every worker, of later ones when they start."""
        workers = self._assembled()
        self._uploads.append((name, content, subfolder))
        # One after the other, since some share a folder.
        names: list[str] = [self._ask(worker.upload.remote(name, content, subfolder)) for worker in workers]
        return names[0]

    def draw_all(self, jobs: Iterable[Job], folder: Path) -> Iterator[list[Row]]:
        """The rows of each job, in the order in which jobs finish.

        Raises:
            WorkersError: no worker starts, a machine lacks what the first job needs, or a worker died several times with a job.
            NotKept: the files of a job cannot be written.
            Exception: what a worker raised.
        """
        waiting = iter(jobs)
        self._first = next(waiting, None)
        if self._first is None:
            return
        for worker in self._assembled():
            self._admit(worker, ())
        self._check_machines()
        with marked(folder.resolve()) as place:
            yield from self._drawn(Queue(chain([self._first], waiting)), place)

    def _drawn(self, queue: Queue, folder: MarkedFolder) -> Iterator[list[Row]]:
        running: dict[Any, tuple[Any, Job]] = {}
        while True:
            self._assign(queue, running, folder)
            if not running and queue.empty:
                return
            task, started = self.crew.wait(list(running))
            if started is not None:
                self._join(started)
            if task is None:
                continue
            worker, _ = running[task]
            try:
                answer: list[Row] | Drawn = self._answer(task)
            except self._lost() as error:
                lost = {task: job for task, (other, job) in running.items() if other is worker}
                queue.put_back(list(lost.values()), error)
                for each in lost:
                    del running[each]
                self.crew.replace(worker)
                continue
            del running[task]
            yield answer.keep(folder.path) if isinstance(answer, Drawn) else answer

    def _lost(self) -> tuple[type[Exception], ...]:
        """What Ray raises if a worker died, or its machine with the results that it held."""
        errors = self.ray.exceptions
        return errors.RayActorError, errors.OutOfMemoryError, errors.ObjectLostError

    def _assign(self, queue: Queue, running: dict[Any, tuple[Any, Job]], folder: MarkedFolder) -> None:
        """Give every worker a job, then a second one, and so on."""
        assigned = Counter(worker for worker, _ in running.values())
        for most in range(1, AHEAD + 1):
            for worker in self.crew.started:
                if assigned[worker] < most and (job := queue.take()) is not None:
                    running[worker.draw.remote(job, folder)] = worker, job
                    assigned[worker] += 1

    def _assembled(self) -> list[Any]:
        """The workers, as soon as the ComfyUI of every one has started; without those whose process takes long.

        Raises:
            WorkersError: it does not start on one of the machines.
        """
        while self.crew.awaited() or not (self.crew.started or self._lacking):
            _, started = self.crew.wait([])
            if started is not None:
                self._admit(started, self._uploads)
        self._check_machines()
        return list(self.crew.started)

    def _admit(self, worker: Any, pictures: Iterable[tuple[str, bytes, str]]) -> None:
        """Give a worker pictures, and let it say what it lacks for the first job. If it lacks anything, it is dismissed.

        Another one is started for a worker that ends meanwhile, but not every time, since ComfyUI may have ended it.
        """
        try:
            self._answer(worker.prepare.remote())
            for each in pictures:
                self._answer(worker.upload.remote(*each))
            if self._first is not None:
                self._answer(worker.check.remote(self._first))
            return
        except self.ray.exceptions.RayActorError as error:
            self._ended += 1
            if self._ended % TRIES:  # its machine may have died before Ray noticed
                self.crew.replace(worker)
                return
            reason = f"a worker ended while its ComfyUI started: {error}\n{self.cluster.reasons()}"
        except Exception as error:  # whatever keeps a ComfyUI from starting
            reason = str(error)
        self._lacking[self.crew.machines[worker]] = reason
        self.crew.dismiss(worker)

    def _check_machines(self) -> None:
        """Raise WorkersError if a machine lacks something, with one line for each of them."""
        if not self._lacking:
            return
        if self.is_alone:
            raise WorkersError("\n".join(dict.fromkeys(self._lacking.values())))
        lines = [f"  {machine}: {reason}" for machine, reason in sorted(self._lacking.items())]
        what_to_do = "Put there what is missing, or take these machines out of the cluster with ray stop."
        raise WorkersError("\n".join(["not every machine of the cluster can run this workflow.", *lines, what_to_do]))

    def _join(self, worker: Any) -> None:
        """A worker has started while others draw. What it lacks does not stop them."""
        self._admit(worker, self._uploads)
        if not self._lacking:
            return
        if not self.crew.started and not self.crew.awaited():
            self._check_machines()
        for machine, reason in self._lacking.items():
            warn(f"{machine} is left out: {reason}")
        self._lacking.clear()

    def _ask(self, task: Any) -> Any:
        """The answer of a worker that has no job yet."""
        try:
            return self._answer(task)
        except self.ray.exceptions.RayActorError as error:
            raise WorkersError(f"a worker died while it was asked: {error}\n{self.cluster.reasons()}") from error

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
