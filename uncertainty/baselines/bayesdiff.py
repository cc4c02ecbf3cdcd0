"""BayesDiff: weight uncertainty propagated through the sampler to the image (Kou et al. 2024, arXiv 2310.11142).

In ComfyUI's scaling a sampler integrates ``dx/dσ = d(x, σ) = (x - x̂0)/σ`` for every model family; d is the noise prediction of a
noise-predicting model and the velocity of a flow model. Uncertain weights make d uncertain, and an Euler step of length Δσ
propagates the variance element by element:

    Var(x') = Var(x) + 2·Δσ·Cov(x, d) + Δσ²·Var(d)

``Var(d)`` is the last layer's exact predictive variance (``laplace.py``). ``Cov(x, d)`` is estimated from draws
``x_i ~ N(x, Var x)``. As in the released code, variance is propagated in one step out of five. The score is the variance of the
image.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .baseline import Baseline

BASELINE = Baseline(
    name="bayesdiff",
    label="BayesDiff",
    meaning=(
        "Variance of the image that follows from the uncertainty of the last layer's weights. High means unsure. Costs about "
        "twice as much as sampling."
    ),
    high_is_sure=False,
    switched=False,
    measured_by="connect Fit Laplace to Uncertainty Baselines",
)

DRAWS = 10
EVERY = 5


def carried(variance: Tensor, covariance: Tensor, derivative_variance: Tensor, step: Tensor) -> Tensor:
    """``Var(x')``, (B, C, *spatial), never below 0, after a step Δσ (any broadcastable shape)."""
    return (variance + 2 * step * covariance + step.square() * derivative_variance).clamp(min=0)


def covariance(derivative: Callable[[Tensor], Tensor], x: Tensor, variance: Tensor, noise: Tensor) -> Tensor:
    """Sample estimate of ``Cov(x, d)`` of each element, from draws around x.

    Args:
        derivative: computes d for latents (B, C, *spatial).
        x: the sampler's latents, (B, C, *spatial).
        variance: Var(x), same shape.
        noise: standard normal, (draws, B, C, *spatial).
    """
    draws = x + variance.sqrt() * noise
    values = torch.stack([derivative(draw) for draw in draws])
    return ((draws - draws.mean(0)) * (values - values.mean(0))).sum(0) / (len(noise) - 1)
