"""Confidence intervals by the bootstrap over groups (Efron 1979; Davison & Hinkley 1997, §3.8): a prompt's images are alike."""

from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

Statistic = Callable[[Tensor], float]
"""A number out of the indices (n,) of the elements that count, some of them more than once."""


class Interval(NamedTuple):
    """The statistic of all elements and its interval."""

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
    _check_level(level)
    values = torch.tensor([statistic(rows) for rows in resampled(groups, resamples, seed)], dtype=torch.float64)
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.quantile(values, tails).tolist()
    return Interval(statistic(torch.arange(len(groups))), low, high)


def resampled(groups: Tensor, resamples: int, seed: int = 0) -> Iterator[Tensor]:
    """Indices of the elements, once a resample: as many groups (N,) as there are, drawn with replacement.

    Raises:
        ValueError: fewer than two groups.
    """
    members = [torch.nonzero(groups == group).flatten() for group in sorted(set(groups.tolist()))]
    if len(members) < 2:
        raise ValueError(f"an interval needs two groups or more, got {len(members)}.")
    generator = torch.Generator().manual_seed(seed)
    for row in torch.randint(len(members), (resamples, len(members)), generator=generator).tolist():
        yield torch.cat([members[i] for i in row])


def around(value: float, values: Tensor, level: float = 0.95) -> Interval:
    """Normal interval of a statistic out of its resampled values (R,): ``value ± z·standard deviation``.

    For what resampling itself moves: distances of distributions grow when images repeat, and percentiles grow with them
    (Davison & Hinkley 1997, §5.2).
    """
    _check_level(level)
    half = NormalDist().inv_cdf((1 + level) / 2) * float(values.double().std())
    return Interval(value, value - half, value + half)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}.")


def clusters(groups: Tensor) -> Tensor:
    """What to resample: whole groups (N,), or single elements where all are of one group."""
    return groups if len(set(groups.tolist())) > 1 else torch.arange(len(groups))


def mean_interval(values: Tensor, groups: Tensor, *, resamples: int = 1000, seed: int = 0, level: float = 0.95) -> Interval:
    """``bootstrap`` of the mean of values (N,)."""
    return bootstrap(lambda rows: float(values[rows].mean()), groups, resamples=resamples, seed=seed, level=level)
