"""Confidence intervals by the bootstrap over groups (Efron 1979; Davison & Hinkley 1997, §3.8).

Groups are resampled as units, because images of the same prompt are correlated.
"""

from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

Statistic = Callable[[Tensor], float]
"""Computes a number from the indices (n,) of the elements to use; indices may repeat."""


class Interval(NamedTuple):
    """A statistic of all elements and the ends of its confidence interval."""

    value: float
    low: float
    high: float


def bootstrap(statistic: Statistic, groups: Tensor, *, resamples: int = 1000, seed: int = 0, level: float = 0.95) -> Interval:
    """Percentile interval of a statistic under resampling of entire groups with replacement.

    Args:
        statistic: computes the statistic from indices of elements.
        groups: number of each element's group, (N,).
        resamples: number of resamples.
        seed: seed of the resampling.
        level: coverage, between 0 and 1.

    Raises:
        ValueError: fewer than two groups, or the level is outside 0 to 1.
    """
    _check_level(level)
    values = torch.tensor([statistic(rows) for rows in resampled(groups, resamples, seed)], dtype=torch.float64)
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.quantile(values, tails).tolist()
    return Interval(statistic(torch.arange(len(groups))), low, high)


def resampled(groups: Tensor, resamples: int, seed: int = 0) -> Iterator[Tensor]:
    """Indices of the elements of each resample: as many groups as in ``groups`` (N,), drawn with replacement.

    Raises:
        ValueError: fewer than two groups.
    """
    members = [torch.nonzero(groups == group).flatten() for group in sorted(set(groups.tolist()))]
    if len(members) < 2:
        raise ValueError(f"an interval needs at least two groups, got {len(members)}.")
    generator = torch.Generator().manual_seed(seed)
    for row in torch.randint(len(members), (resamples, len(members)), generator=generator).tolist():
        yield torch.cat([members[i] for i in row])


def around(value: float, values: Tensor, level: float = 0.95) -> Interval:
    """Normal interval of a statistic from its resampled values (R,): ``value ± z·standard deviation``.

    For statistics that resampling biases: distances between distributions grow when images repeat, and so would percentile
    intervals (Davison & Hinkley 1997, §5.2).
    """
    _check_level(level)
    half = NormalDist().inv_cdf((1 + level) / 2) * float(values.double().std())
    return Interval(value, value - half, value + half)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}.")


def clusters(groups: Tensor) -> Tensor:
    """The units to resample: the groups (N,), or single elements if there is only one group."""
    return groups if len(set(groups.tolist())) > 1 else torch.arange(len(groups))


def mean_interval(values: Tensor, groups: Tensor, *, resamples: int = 1000, seed: int = 0, level: float = 0.95) -> Interval:
    """``bootstrap`` of the mean of values (N,)."""
    return bootstrap(lambda rows: float(values[rows].mean()), groups, resamples=resamples, seed=seed, level=level)
