"""The runs of a batch in a fixed order. Any worker can run any of them at any time with the same result."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from uncertainty.storage.text_files import lines, read_text

from .graph import Graph
from .workflow import Workflow


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        number: in the plan.
        prompt: of all its images.
        seed: of the run.
        graph: what is run; its last nodes are those of ``Workflow.saving``.
        images: how many it must make; None if that is not known.
    """

    number: int
    prompt: str
    seed: int
    graph: Graph
    images: int | None = None

    @property
    def named(self) -> str:
        """The run in messages."""
        return f"run {self.number} (prompt {self.prompt!r}, seed {self.seed})"

    def check(self, images: int) -> None:
        """Raise RuntimeError unless this is the number of images that were planned."""
        if self.images is not None and images != self.images:
            raise RuntimeError(
                f"run {self.number} made {images} images, but {self.images} were planned: nodes of the workflow change how many "
                "there are. Give the number that a run makes with --batch, or remove these nodes."
            )


class Plan:
    """Jobs 0 to ``len - 1``. Each is made on demand, so a plan of a million jobs takes no more memory than one of ten.

    Args:
        workflow: the graph that is run.
        prompts: each is used in turn; None for the workflow's own, which stays as it is.
        seeds: the first seed.
        count: number of jobs.
        batch: images of a job; None for the workflow's own number.
        maps: whether maps are kept.
        every_seed_once: each job has its own seed; otherwise all prompts are run with one seed, then with the next.
        drawn: latents that each job starts with, if only ``batch`` of them are finished.
    """

    def __init__(
        self,
        workflow: Workflow,
        prompts: Sequence[str] | None,
        seeds: int,
        count: int,
        batch: int | None = None,
        *,
        maps: bool = False,
        every_seed_once: bool = False,
        drawn: int | None = None,
    ) -> None:
        self.prompts = (workflow.prompt(),) if prompts is None else tuple(prompts)
        self.workflow, self.first, self.count = workflow, seeds, count
        self.batch, self.maps, self.every_seed_once = batch or workflow.batch_size(), maps, every_seed_once
        self.drawn = drawn or self.batch
        # The same for all jobs, which differ only in these inputs.
        self._graph, self._inputs = workflow.saving(maps=maps), workflow.job_inputs(prompt=prompts is not None)

    def __len__(self) -> int:
        """Number of jobs."""
        return self.count

    def __getitem__(self, number: int) -> Job:
        """One job."""
        prompt = self.prompts[number % len(self.prompts)]
        seed = self.first + (number if self.every_seed_once else number // len(self.prompts))
        return Job(number, prompt, seed, self._inputs.filled(self._graph, prompt, seed, self.drawn), self.batch)

    def __iter__(self) -> Iterator[Job]:
        """All jobs."""
        return (self[number] for number in range(self.count))

    def identity(self) -> str:
        """Digest that identifies the folder of this plan. It does not depend on ``count``, so a plan can be extended."""
        return identity(self[0], self.prompts)


class Listed(tuple[Job, ...]):
    """Jobs that were made one by one."""

    __slots__ = ()

    def identity(self) -> str:
        """Digest that identifies the folder of this list."""
        return identity(self[0], tuple(job.prompt for job in self))


Jobs = Plan | Listed


def identity(first: Job, prompts: Sequence[str]) -> str:
    """SHA-256 of the first graph and all prompts."""
    content = json.dumps([first.graph, list(prompts)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def jobs_for(images: int, batch: int) -> int:
    """Number of jobs of ``batch`` images that make at least ``images``."""
    return -(-images // batch)


def read_prompts(path: Path) -> list[str]:
    """The prompts in a file, one per line; empty lines are left out.

    Raises:
        ValueError: all lines are empty, or the file is not UTF-8.
    """
    prompts = [line.strip() for line in lines(read_text(path)) if line.strip()]
    if not prompts:
        raise ValueError(f"prompts: {path} is empty; it must have one prompt per line.")
    return prompts
