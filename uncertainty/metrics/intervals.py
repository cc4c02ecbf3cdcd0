"""Confidence intervals by the bootstrap over groups (Efron 1979; Davison & Hinkley 1997, §3.8): a prompt's images are alike."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Statistic = Callable[[Tensor], float]
"""A number out of the indices (n,) of the elements that count, some of them more than once."""


class Interval(NamedTuple):
    """The statistic of all elements and its percentile interval."""

    value: float
    low: float
    high: float


def bootstrap(statistic: Statistic, groups: Tensor, *, resamples: int = 1000, seed: int = 0, level: float = 0.95) -> Interval:
    """Percentile interval of a statistic when whole groups are drawn anew, with replacement.

    Args:
        statistic: of indices into the elements.
        groups: number of each element's group, (N,).
        resamples: how often groups are drawn.
        seed: of the drawing.
        level: coverage, between 0 and 1.

    Raises:
        ValueError: fewer than two groups, or a level outside 0 to 1.
    """
    members = [torch.nonzero(groups == group).flatten() for group in sorted(set(groups.tolist()))]
    if len(members) < 2:
        raise ValueError(f"an interval needs two groups or more, got {len(members)}.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}.")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(members), (resamples, len(members)), generator=generator).tolist()
    values = torch.tensor([statistic(torch.cat([members[i] for i in row])) for row in drawn], dtype=torch.float64)
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.quantile(values, tails).tolist()
    return Interval(statistic(torch.arange(len(groups))), low, high)


def clusters(groups: Tensor) -> Tensor:
    """What to resample: whole groups (N,), or single elements where all are of one group."""
    return groups if len(set(groups.tolist())) > 1 else torch.arange(len(groups))


def mean_interval(values: Tensor, groups: Tensor, *, resamples: int = 1000, seed: int = 0, level: float = 0.95) -> Interval:
    """``bootstrap`` of the mean of values (N,)."""
    return bootstrap(lambda rows: float(values[rows].mean()), groups, resamples=resamples, seed=seed, level=level)
