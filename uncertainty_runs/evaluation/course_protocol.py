"""Protocol 4, the paper's Fig. 3: how uncertainty runs over the steps of a model; and at which steps it ranks images best."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uncertainty.maps import UncertaintyMap
from uncertainty.metrics.intervals import bootstrap, clusters
from uncertainty.metrics.ranking import spearman, within_groups
from uncertainty.quantities import PROBED
from uncertainty.window import Window

from .filtering_protocol import RESAMPLES
from .report import Cell, Table, between

# Parts of the schedule that are added up, as a sampler's window would.
PARTS = tuple(Window(*part) for part in ((0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 0.98), (0.1, 0.98)))


@dataclass(frozen=True)
class Course:
    """Scores of N images at each of S recorded steps: by quantity (S, N), with the steps and their noise levels."""

    scores: Mapping[str, Tensor]
    steps: tuple[int, ...]
    total_steps: int
    sigmas: tuple[float, ...]

    @classmethod
    def of(cls, maps: Iterable[UncertaintyMap]) -> "Course":
        """Read off maps, one after the other: together they may not fit into memory."""
        parts: dict[str, list[Tensor]] = {quantity: [] for quantity in PROBED}
        for found in maps:
            for quantity in PROBED:
                parts[quantity].append(torch.stack([found.score(quantity, [step]).value for step in found.steps]))
        scores = {quantity: torch.cat(values, 1) for quantity, values in parts.items()}
        return cls(scores, found.steps, found.total_steps, tuple(found.sigmas.tolist()))

    def within(self, window: Window) -> list[int]:
        """Rows of the steps in a part of the schedule."""
        return [self.steps.index(step) for step in window.among(self.steps, self.total_steps)]


def course(found: Course, name: str) -> Table:
    """Mean and standard deviation over images of every quantity at every recorded step."""
    rows: list[tuple[Cell, ...]] = []
    for row, step in enumerate(found.steps):
        cells: list[Cell] = [step, found.sigmas[row]]
        for quantity in PROBED:
            cells += [float(found.scores[quantity][row].mean()), float(found.scores[quantity][row].std())]
        rows.append(tuple(cells))
    head = ["step", "sigma"]
    for quantity in PROBED:
        head += [quantity, f"{quantity}, spread over images"]
    return Table(name, tuple(head), rows)


def ranking(found: Course, prompts: Tensor, qualities: Mapping[str, Tensor], parts: Sequence[Sequence[int]], name: str) -> Table:
    """Rank correlation, within prompts, of the score over some steps with each quality measure.

    Args:
        found: scores of N images at each step.
        prompts: number of each image's prompt, (N,).
        qualities: by name, (N,).
        parts: rows of the steps that are added up, a line of the table each.
        name: of the table.
    """
    rows: list[tuple[Cell, ...]] = []
    for quality, values in qualities.items():
        right = within_groups(values, prompts)
        for quantity in PROBED:
            for chosen in parts:
                left = within_groups(found.scores[quantity][list(chosen)].sum(0), prompts)

                def statistic(rows: Tensor, left: Tensor = left, right: Tensor = right) -> float:
                    return spearman(left[rows], right[rows])

                interval = bootstrap(statistic, clusters(prompts), resamples=RESAMPLES)
                steps = found.steps[chosen[0]], found.steps[chosen[-1]]
                shown = f"{steps[0]} to {steps[1]}" if len(chosen) > 1 else str(steps[0])
                rows.append((quality, quantity, shown, interval.value, between(interval.low, interval.high)))
    return Table(name, ("quality", "quantity", "steps", "rank correlation", "95 % interval"), rows)
