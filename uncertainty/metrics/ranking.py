"""How well scores order images: rank correlation, standing within a group, and what choosing the best of k gains."""

import torch
from torch import Tensor


def ranks(values: Tensor) -> Tensor:
    """Rank of each value (N,), from 0; equal values share the mean of theirs."""
    ordered = values.sort().values
    first, end = (torch.searchsorted(ordered, values.contiguous(), right=right) for right in (False, True))
    return (first + end - 1).double() / 2


def spearman(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation of two (N,): Pearson's of their ranks; NaN where one is constant."""
    left, right = (ranks(values) - (len(values) - 1) / 2 for values in (a, b))
    return float((left * right).sum() / (left.square().sum() * right.square().sum()).sqrt())


def within_groups(values: Tensor, groups: Tensor) -> Tensor:
    """Standing of each value among those of its group, (N,): 0 for the lowest, 1 for the highest, 0.5 for one alone."""
    standing = torch.full(values.shape, 0.5, dtype=torch.float64)
    for group in sorted(set(groups.tolist())):
        rows = groups == group
        if rows.sum() > 1:
            standing[rows] = ranks(values[rows]) / (rows.sum() - 1)
    return standing


def best_of_k(badness: Tensor, quality: Tensor, groups: Tensor, k: int) -> Tensor:
    """Expected quality of the least bad of k images drawn without replacement, one number a group in ascending order of groups.

    Of n images in order of badness the j-th (from 0) is the best of the k drawn in C(n-1-j, k-1) of C(n, k) cases: the
    expectation is exact, nothing is drawn.

    Args:
        badness: what the choice is made by, (N,); ties keep their order.
        quality: what is averaged, (N,).
        groups: number of each image's group, (N,).
        k: at least 1.

    Raises:
        ValueError: a group has fewer than k images.
    """
    expected = []
    for group in sorted(set(groups.tolist())):
        rows = torch.nonzero(groups == group).flatten()
        n = len(rows)
        if not 1 <= k <= n:
            raise ValueError(f"k must lie between 1 and the {n} images of the smallest group, got {k}.")
        order = rows[torch.sort(badness[rows], stable=True).indices]
        place = torch.arange(n, dtype=torch.float64)
        weight = torch.exp(_log_choose(n - 1 - place, k - 1) - _log_choose(torch.tensor(float(n)).double(), k))
        expected.append((weight * quality[order].double()).sum())
    return torch.stack(expected)


def _log_choose(n: Tensor, k: int) -> Tensor:
    """Logarithm of C(n, k), minus infinity where n < k."""
    possible = n >= k
    safe = torch.where(possible, n, torch.full_like(n, float(k)))
    value = torch.lgamma(safe + 1) - torch.lgamma(torch.tensor(k + 1.0).double()) - torch.lgamma(safe - k + 1)
    return torch.where(possible, value, torch.full_like(value, -torch.inf))
