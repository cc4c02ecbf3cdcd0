"""The runs of a batch in a fixed order. Any worker can do any of them at any time, and the result is the same."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .graph import Graph
from .workflow import Workflow


@dataclass(frozen=True)
class Job:
    """One run: its number in the plan, its prompt and seed, and the graph, whose last nodes are those of ``Workflow.saving``."""

    number: int
    prompt: str
    seed: int
    graph: Graph


class Plan:
    """Jobs 0 to ``len - 1``. Each is made on demand, so a plan of a million jobs takes no more memory than one of ten.

    Args:
        workflow: the graph that is run.
        prompts: each is used in turn.
        seeds: the first seed.
        count: number of jobs.
        batch: images of a job; None for the workflow's own number.
        maps: whether maps are kept.
        every_seed_once: each job has its own seed; otherwise all prompts are run with one seed, then with the next.
    """

    def __init__(
        self,
        workflow: Workflow,
        prompts: Sequence[str],
        seeds: int,
        count: int,
        batch: int | None = None,
        *,
        maps: bool = False,
        every_seed_once: bool = False,
    ) -> None:
        self.workflow, self.prompts, self.first, self.count = workflow, tuple(prompts), seeds, count
        self.batch, self.maps, self.every_seed_once = batch, maps, every_seed_once

    def __len__(self) -> int:
        """Number of jobs."""
        return self.count

    def __getitem__(self, number: int) -> Job:
        """One job."""
        prompt = self.prompts[number % len(self.prompts)]
        seed = self.first + (number if self.every_seed_once else number // len(self.prompts))
        return Job(number, prompt, seed, self.workflow.drawing(prompt, seed, self.batch).saving(maps=self.maps))

    def __iter__(self) -> Iterator[Job]:
        """All jobs."""
        return (self[number] for number in range(self.count))

    def identity(self) -> str:
        """Tells the folders of different plans apart. It does not depend on ``count``, so a plan can be extended."""
        return identity(self[0], self.prompts)


class Listed(tuple[Job, ...]):
    """Jobs that were made one by one."""

    __slots__ = ()

    def identity(self) -> str:
        """Tells the folders of different lists apart."""
        return identity(self[0], tuple(job.prompt for job in self))


Jobs = Plan | Listed


def identity(first: Job, prompts: Sequence[str]) -> str:
    """SHA-256 of the first graph and all prompts."""
    content = json.dumps([first.graph, list(prompts)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def jobs_for(images: int, batch: int) -> int:
    """How many jobs of ``batch`` images make at least ``images``."""
    return -(-images // batch)


def read_prompts(path: Path) -> list[str]:
    """The lines of a file, one prompt each, empty ones left out.

    Raises:
        ValueError: all are empty.
    """
    prompts = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    if not prompts:
        raise ValueError(f"prompts: {path} is empty; it must have one prompt per line.")
    return prompts
