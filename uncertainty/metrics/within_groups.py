"""How well a score tells images of the same prompt apart, and by how much one score does better than another.

Only images of one group are compared, because scores of different prompts measure their subjects. Every statistic here is a
function of sums over groups. So thousands of resamples of groups are one matrix product, and two statistics can be compared on
the same resamples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from typing import NamedTuple

import torch
from torch import Tensor

from .intervals import Interval
from .ranking import best_of_k, ranks

RESAMPLES = 4000


@dataclass(frozen=True)
class Statistic:
    """A statistic that is a function of sums over groups.

    Attributes:
        parts: what each group adds to each sum, (G, P).
        of: the statistic (...) of sums (..., P).
    """

    parts: Tensor
    of: Callable[[Tensor], Tensor]

    @property
    def value(self) -> float:
        """The statistic of all groups; NaN if it is undefined."""
        return float(self.of(self.parts.sum(0)))

    def resampled(self, resamples: int, seed: int) -> Tensor:
        """The statistic of each resample of whole groups, (R,), the same resamples as those of ``intervals.resampled``."""
        groups = len(self.parts)
        if groups < 2:
            raise ValueError(f"an interval needs at least two groups, got {groups}.")
        drawn = torch.randint(groups, (resamples, groups), generator=torch.Generator().manual_seed(seed))
        counts = torch.zeros(resamples, groups, dtype=self.parts.dtype).scatter_add_(1, drawn, torch.ones_like(drawn).double())
        return self.of(counts @ self.parts)

    def interval(self, resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95) -> Interval:
        """The statistic with its percentile interval (Efron 1979).

        Raises:
            ValueError: fewer than two groups.
        """
        return Interval(self.value, *_between(self.resampled(resamples, seed), level))


def pooled(statistics: Sequence[Statistic]) -> Statistic:
    """One statistic of several measurements of the same groups, such as the same prompts in several settings: sums are added.

    Raises:
        ValueError: the statistics have different numbers of groups.
    """
    _check_groups(statistics)
    return Statistic(torch.stack([statistic.parts for statistic in statistics]).sum(0), statistics[0].of)


class Difference(NamedTuple):
    """First minus second statistic, the ends of the interval of the difference, and its two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


def difference(first: Statistic, second: Statistic, resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95) -> Difference:
    """Paired difference of two statistics of the same groups: both are computed on the same resamples.

    The p-value is twice the share of resamples on the wrong side of 0, one more counted on either side (Davison & Hinkley 1997,
    §4.2), so it is at least 2 / (resamples + 1).

    Raises:
        ValueError: the statistics have different numbers of groups, or fewer than two.
    """
    _check_groups((first, second))
    drawn = first.resampled(resamples, seed) - second.resampled(resamples, seed)
    drawn = drawn[~drawn.isnan()]
    wrong = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (wrong + 1) / (len(drawn) + 1))
    return Difference(first.value - second.value, *_between(drawn, level), p)


def _check_groups(statistics: Sequence[Statistic]) -> None:
    counts = [len(statistic.parts) for statistic in statistics]
    if len(set(counts)) != 1:
        raise ValueError(f"the statistics must have the same groups, got {' and '.join(map(str, counts))}.")


def _between(values: Tensor, level: float) -> tuple[float, float]:
    if len(values) == 0:
        return nan, nan  # no resample has a value
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=values.dtype)
    low, high = torch.nanquantile(values, tails).tolist()
    return low, high


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted for their number: the family-wise error is kept (Holm 1979, Scand. J. Statist. 6).

    The i-th smallest of m, from 0, is multiplied by m - i; none becomes smaller than a smaller one, or larger than 1.
    """
    adjusted, largest = [0.0] * len(p), 0.0
    for place, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        largest = max(largest, min(1.0, p[index] * (len(p) - place)))
        adjusted[index] = largest
    return adjusted


def roc_area(badness: Tensor, broken: Tensor, groups: Tensor) -> Statistic:
    """Area under the ROC curve for "broken", from pairs of one group: in how many is the broken image the worse one?

    All pairs of a broken and a whole image of a group count alike; ties count half (Mann & Whitney 1947). 0.5 is chance. NaN if
    no group has both.

    Args:
        badness: (N,), high is bad.
        broken: (N,), true for broken images.
        groups: number of each image's group, (N,).
    """

    def parts(rows: Tensor) -> Sequence[float]:
        bad, good = badness[rows][broken[rows]], badness[rows][~broken[rows]]
        gap = bad[:, None] - good[None, :]
        return float((gap > 0).sum() + 0.5 * (gap == 0).sum()), gap.numel()

    return Statistic(_by_group(parts, groups), _ratio)


def share_of_possible(badness: Tensor, quality: Tensor, groups: Tensor, k: int = 4) -> Statistic:
    """What the least bad of k images of a group gains over a random one, as a share of what the best of k gains.

    Expected values over all choices of k, see ``best_of_k``. 1 is a perfect choice, 0 is chance.

    Args:
        badness: (N,), high is bad.
        quality: (N,), high is good.
        groups: number of each image's group, (N,).
        k: images to choose from.

    Raises:
        ValueError: a group has fewer than k images.
    """
    random = best_of_k(quality, quality, groups, 1)
    gained, possible = (best_of_k(order, quality, groups, k) - random for order in (badness, -quality))
    return Statistic(torch.stack([gained, possible], 1), _ratio)


def rank_correlation(first: Tensor, second: Tensor, groups: Tensor, given: Sequence[Tensor] = ()) -> Statistic:
    """Pearson correlation of the ranks within groups, each group's ranks centred and scaled to a range of 1. Values (N,).

    Args:
        first: values (N,).
        second: values (N,).
        groups: number of each image's group, (N,).
        given: values (N,) to hold fixed: the correlation is then the partial one. Ranks of few images hold a part of what these
            values know: a score that adds nothing to them keeps up to about -0.1 with 8 images a group.
    """
    left, right = (residual(values, given, groups) for values in (first, second))
    products = torch.stack([left * right, left.square(), right.square()], 1)
    parts = _by_group(lambda rows: products[rows].sum(0).tolist(), groups)
    return Statistic(parts, lambda sums: sums[..., 0] / (sums[..., 1] * sums[..., 2]).sqrt())


def residual(values: Tensor, given: Sequence[Tensor], groups: Tensor) -> Tensor:
    """What of the ranks of values (N,) within groups the ranks of other values (N,) do not explain, (N,).

    The residual of the least-squares regression of centred ranks on centred ranks, with the same slopes in all groups. It is
    uncorrelated with the other ranks as it is; ranked anew, it would not be.
    """
    own = centred_ranks(values, groups)
    if not given:
        return own
    others = torch.stack([centred_ranks(one, groups) for one in given], 1)
    slopes: Tensor = torch.linalg.lstsq(others, own[:, None], driver="gelsd").solution[:, 0]
    return own - others @ slopes


def centred_ranks(values: Tensor, groups: Tensor) -> Tensor:
    """Ranks within groups from -½ to ½, (N,): 0 in the middle, for all of equal values, and in a group of one."""
    found = torch.zeros(len(values), dtype=torch.float64)
    for rows in _members(groups):
        if len(rows) > 1:
            found[rows] = ranks(values[rows]) / (len(rows) - 1) - 0.5
    return found


def _members(groups: Tensor) -> list[Tensor]:
    return [torch.nonzero(groups == group).flatten() for group in sorted(set(groups.tolist()))]


def _by_group(parts: Callable[[Tensor], Sequence[float]], groups: Tensor) -> Tensor:
    return torch.tensor([list(parts(rows)) for rows in _members(groups)], dtype=torch.float64)


def _ratio(sums: Tensor) -> Tensor:
    return sums[..., 0] / sums[..., 1]
