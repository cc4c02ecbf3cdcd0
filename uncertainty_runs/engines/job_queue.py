"""The jobs that no worker has, and how often workers died with one."""

from collections import Counter
from collections.abc import Iterable, Sequence

from ..plan import Job
from .ray_cluster import WorkersError

# A job whose worker died this often is not tried again: most likely it does not fit into memory.
TRIES = 3


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
                f"a worker died {TRIES} times in {job.named}: most likely it ran out of memory. Give fewer --workers, or a "
                f"smaller --batch and another folder. Ray says: {error}"
            ) from error
        self._again += lost
        self.empty = False
