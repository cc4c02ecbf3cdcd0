"""How well scores order images: rank correlation, rank within a group, and the gain from choosing the best of k."""

import torch
from torch import Tensor


def ranks(values: Tensor) -> Tensor:
    """Rank of each value (N,), starting at 0; equal values get their mean rank."""
    ordered = values.sort().values
    first, end = (torch.searchsorted(ordered, values.contiguous(), right=right) for right in (False, True))
    return (first + end - 1).double() / 2


def spearman(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation of two tensors (N,), the Pearson correlation of their ranks; NaN if one is constant."""
    left, right = (ranks(values) - (len(values) - 1) / 2 for values in (a, b))
    return float((left * right).sum() / (left.square().sum() * right.square().sum()).sqrt())


def within_groups(values: Tensor, groups: Tensor) -> Tensor:
    """Relative rank of each value in its group, (N,): 0 for the lowest, 1 for the highest, 0.5 in a group of one."""
    standing = torch.full(values.shape, 0.5, dtype=torch.float64)
    for group in sorted(set(groups.tolist())):
        rows = groups == group
        if rows.sum() > 1:
            standing[rows] = ranks(values[rows]) / (rows.sum() - 1)
    return standing


def best_of_k(badness: Tensor, quality: Tensor, groups: Tensor, k: int) -> Tensor:
    """Expected quality of the least bad of k images drawn without replacement, one value per group, in ascending group order.

    Of n images in order of badness, the j-th (from 0) is the best of k in C(n-1-j, k-1) of C(n, k) draws, so the expectation is
    exact and needs no sampling.

    Args:
        badness: score that decides the choice, (N,); ties keep their order.
        quality: value to average, (N,).
        groups: number of each image's group, (N,).
        k: number of images to choose from, at least 1.

    Raises:
        ValueError: a group has fewer than k images.
    """
    expected = []
    for group in sorted(set(groups.tolist())):
        rows = torch.nonzero(groups == group).flatten()
        n = len(rows)
        if not 1 <= k <= n:
            raise ValueError(f"k must be between 1 and the {n} images of group {group}, got {k}.")
        order = rows[torch.sort(badness[rows], stable=True).indices]
        place = torch.arange(n, dtype=torch.float64)
        weight = torch.exp(_log_choose(n - 1 - place, k - 1) - _log_choose(torch.tensor(float(n)).double(), k))
        expected.append((weight * quality[order].double()).sum())
    return torch.stack(expected)


def _log_choose(n: Tensor, k: int) -> Tensor:
    """Logarithm of C(n, k); minus infinity where n < k."""
    possible = n >= k
    safe = torch.where(possible, n, torch.full_like(n, float(k)))
    value = torch.lgamma(safe + 1) - torch.lgamma(torch.tensor(k + 1.0).double()) - torch.lgamma(safe - k + 1)
    return torch.where(possible, value, torch.full_like(value, -torch.inf))
