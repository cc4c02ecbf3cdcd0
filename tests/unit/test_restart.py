"""Noising to a higher level again."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from closed_forms import random_covariance
from uncertainty.noising import Noising, rectified_flow, variance_exploding
from uncertainty.restart import renoised, restarted

SHAPE = (1, 2, 2)
DIM = 4
FAMILIES = {"exploding": (variance_exploding, 0.4, 2.5), "flow": (rectified_flow, 0.3, 0.8)}


def scaled(sigma: Tensor) -> Noising:
    """A rectified flow whose noise is scaled, as some models do it."""
    return Noising(1 - sigma, 1.7 * sigma)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("noising", "low", "high"), [*FAMILIES.values(), (scaled, 0.3, 0.8)])
def test_the_marginal_is_that_of_the_high_level(noising: Callable[[Tensor], Noising], low: float, high: float) -> None:
    """Gaussian data N(μ, Σ): latents of a level are N(a·μ, a²·Σ + b²·I)."""
    count = 200_000
    covariance, mean = random_covariance(DIM, 0), normal(DIM, seed=1)
    below, above = (noising(torch.tensor(level, dtype=torch.float64)) for level in (low, high))
    x0 = mean + normal(count, DIM, seed=2) @ torch.linalg.cholesky(covariance).T
    x = (below.a * x0 + below.b * normal(count, DIM, seed=3)).reshape(count, *SHAPE)
    found = renoised(x, below, above, normal(count, *SHAPE, seed=4)).flatten(1)
    expected = above.a**2 * covariance + above.b**2 * torch.eye(DIM, dtype=torch.float64)
    torch.testing.assert_close(found.mean(0), above.a * mean, rtol=0, atol=5 * float(expected.max().sqrt()) / count**0.5)
    torch.testing.assert_close(torch.cov(found.T), expected, rtol=0, atol=0.02 * float(expected.max()))


@pytest.mark.parametrize(("noising", "low", "high"), FAMILIES.values())
def test_two_restarts_are_one(noising: Callable[[Tensor], Noising], low: float, high: float) -> None:
    """The forward process is Markov: noise that is added in two parts has the variance of noise that is added at once."""
    levels = [noising(torch.tensor(level, dtype=torch.float64)) for level in (low, (low + high) / 2, high)]
    zero, one = torch.zeros(1, *SHAPE, dtype=torch.float64), torch.ones(1, *SHAPE, dtype=torch.float64)
    signal = renoised(renoised(one, *levels[:2], zero), *levels[1:], zero)
    torch.testing.assert_close(signal, renoised(one, levels[0], levels[2], zero))
    first = renoised(renoised(zero, *levels[:2], one), *levels[1:], zero)
    second = renoised(zero, *levels[1:], one)
    torch.testing.assert_close(first.square() + second.square(), renoised(zero, levels[0], levels[2], one).square())


def test_variance_exploding_adds_the_difference_of_variances() -> None:
    x, noise = normal(2, *SHAPE, seed=5), normal(2, *SHAPE, seed=6)
    low, high = (variance_exploding(torch.tensor(levels, dtype=torch.float64)) for levels in ([0.3, 0.6], [0.5, 1.0]))
    expected = x + torch.tensor([0.4, 0.8], dtype=torch.float64).reshape(2, 1, 1, 1) * noise
    torch.testing.assert_close(renoised(x, low, high, noise), expected)


def test_the_rest_keeps_its_latents() -> None:
    x, earlier, noise = (normal(2, *SHAPE, seed=seed) for seed in (7, 8, 9))
    region = torch.tensor([True, False]).reshape(1, 1, 2, 1)
    low, high = (variance_exploding(torch.tensor(level, dtype=torch.float64)) for level in (0.3, 0.5))
    found = restarted(x, earlier, region, low, high, noise)
    assert torch.equal(found[..., 1, :], earlier[..., 1, :])
    assert torch.equal(found[..., 0, :], renoised(x, low, high, noise)[..., 0, :])


def test_a_restart_to_less_noise_is_refused() -> None:
    low, high = (variance_exploding(torch.tensor([level])) for level in (0.5, 0.3))
    with pytest.raises(
        ValueError, match=r"at least as much noise, got b/a = \[0.3.*\] after \[0.5\]: restart at an earlier step"
    ):
        renoised(torch.zeros(1, *SHAPE), low, high, torch.zeros(1, *SHAPE))
