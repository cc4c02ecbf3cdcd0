"""What is to be drawn, in a fixed order: any worker can draw any of it, at any time, and draws the same."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .workflow import Graph, Workflow


@dataclass(frozen=True)
class Job:
    """One run of a graph: its place in the plan, what it draws, and the graph, which saves under the names of ``workflow``."""

    number: int
    prompt: str
    seed: int
    graph: Graph


class Plan:
    """Jobs 0 to ``len - 1``, each made when it is asked for: a plan of a million takes no more memory than one of ten.

    Args:
        workflow: what draws.
        prompts: what is drawn.
        seeds: seed of the first round; with ``every_seed_once`` of the first job.
        count: number of jobs.
        batch: images of a job, the workflow's own number if None.
        maps: whether maps are kept.
        every_seed_once: jobs count seeds on from one to the next; else every prompt is drawn with one seed, then with the next.
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
        """How many jobs."""
        return self.count

    def __getitem__(self, number: int) -> Job:
        """One of them."""
        prompt = self.prompts[number % len(self.prompts)]
        seed = self.first + (number if self.every_seed_once else number // len(self.prompts))
        return Job(number, prompt, seed, self.workflow.drawing(prompt, seed, self.batch).saving(maps=self.maps))

    def __iter__(self) -> Iterator[Job]:
        """All of them."""
        return (self[number] for number in range(self.count))

    def identity(self) -> str:
        """What a folder is known by: a longer plan of the same workflow and prompts has the same."""
        return identity(self[0], self.prompts)


class Listed(tuple[Job, ...]):
    """Jobs that were made one by one."""

    __slots__ = ()

    def identity(self) -> str:
        """What a folder is known by."""
        return identity(self[0], tuple(job.prompt for job in self))


Jobs = Plan | Listed


def identity(first: Job, prompts: Sequence[str]) -> str:
    """Digest of the first graph and all prompts."""
    told = json.dumps([first.graph, list(prompts)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def jobs_for(images: int, batch: int) -> int:
    """How many jobs of ``batch`` images make at least so many."""
    return -(-images // batch)


def read_prompts(path: Path) -> list[str]:
    """One prompt a line.

    Raises:
        ValueError: there is none.
    """
    found = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    if not found:
        raise ValueError(f"prompts: {path} is empty, one prompt a line is expected.")
    return found
