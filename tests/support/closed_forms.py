"""Distributions whose scores and uncertainty maps are known in closed form: the reference for tests of estimators.

Everything is float64 and flattened: an image (C, H, W) is a vector of D elements.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def random_covariance(dim: int, seed: int) -> Tensor:
    """A well-conditioned random covariance (D, D)."""
    rng = torch.Generator().manual_seed(seed)
    factor = torch.randn(dim, dim, generator=rng, dtype=torch.float64) / math.sqrt(dim)
    return factor @ factor.T + 0.1 * torch.eye(dim, dtype=torch.float64)


@dataclass
class Mixture:
    """Gaussian mixture data: means (K, D), covariances (K, D, D), weights (K,)."""

    means: Tensor
    covariances: Tensor
    weights: Tensor

    def noise_prediction(self, x: Tensor, sigma: Tensor) -> Tensor:
        """ε(x, σ) = -σ ∇log p_σ(x) of the variance-exploding process, for x (B, ...) and one noise level, repeated (B,)."""
        return self._noise_prediction(x, 1.0, _same(sigma))

    def flow_noise_prediction(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The same for rectified flow, ``x = (1 - σ)·x0 + σ·n``."""
        level = _same(sigma)
        return self._noise_prediction(x, 1 - level, level)

    def denoised(self, x: Tensor, a: float, b: float) -> Tensor:
        """x̂0 = E[x0 | x] for x (B, ...) under ``x = a·x0 + b·n``, also for a = 0 or b = 0."""
        flat = x.double().flatten(1)
        spread = a**2 * self.covariances + b**2 * torch.eye(flat.shape[1], dtype=torch.float64)
        away = flat[:, None] - a * self.means
        scaled = torch.einsum("kde,bke->bkd", torch.linalg.inv(spread), away)
        log_weights = self.weights.log() - 0.5 * (away * scaled).sum(2) - 0.5 * torch.logdet(spread)
        posterior = self.means + a * torch.einsum("kde,bke->bkd", self.covariances, scaled)
        return (torch.softmax(log_weights, 1)[..., None] * posterior).sum(1).reshape(x.shape)

    def _noise_prediction(self, x: Tensor, a: float, b: float) -> Tensor:
        flat = x.double().flatten(1)
        spread = a**2 * self.covariances + b**2 * torch.eye(flat.shape[1], dtype=torch.float64)
        away = a * self.means - flat[:, None]  # (B, K, D)
        towards = torch.einsum("kde,bke->bkd", torch.linalg.inv(spread), away)
        log_weights = self.weights.log() - 0.5 * (away * towards).sum(2) - 0.5 * torch.logdet(spread)
        return -b * (torch.softmax(log_weights, 1)[..., None] * towards).sum(1).reshape(x.shape)


def _same(sigma: Tensor) -> float:
    assert (sigma == sigma.flatten()[0]).all()
    return float(sigma.flatten()[0])


def gaussian(mean: Tensor, covariance: Tensor) -> Mixture:
    """Gaussian data, as a mixture of one component."""
    return Mixture(mean[None], covariance[None], torch.ones(1, dtype=torch.float64))


def gaussian_quantities(covariance: Tensor, a: float, b: float, offset: Tensor) -> dict[str, Tensor]:
    """The quantities of Gaussian data, each (D,), for an x̂0 that is ``offset`` (D,) away from the mean: with P = (a²Σ + b²I)⁻¹.

    score variance diag(b⁴P²); posterior variance diag(C), C = Σ - a²ΣPΣ; denoised variance (a/b)²·diag(C²); denoising loss, with
    x̂0(a·x̂0 + b·n) - x̂0 = -b²P·offset + (a/b)·C·n, the denoised variance plus (b²P·offset)². The first three hold for every x̂0.
    """
    identity = torch.eye(len(covariance), dtype=torch.float64)
    precision = torch.linalg.inv(a**2 * covariance + b**2 * identity)
    posterior = covariance - a**2 * covariance @ precision @ covariance
    return {
        "score_variance": b**4 * (precision @ precision).diagonal(),
        "posterior_variance": posterior.diagonal(),
        "denoised_variance": (a / b) ** 2 * (posterior @ posterior).diagonal(),
        "denoising_loss": (a / b) ** 2 * (posterior @ posterior).diagonal() + (b**2 * precision @ offset).square(),
    }


def two_component_score_variance(mixture: Mixture, x: Tensor, sigma: float, spread: float, nodes: int = 200) -> Tensor:
    """Score variance (D,) of two components that share covariance spread²·I, by one-dimensional Gauss-Hermite quadrature.

    With a = μ1 - μ2, v = spread² + σ², D = x̂0, γ(z) = sigmoid(aᵀ(D - (μ1 + μ2)/2)/v + log(π1/π2) + σ|a|z/v), κ = E[zγ]:
    U_j = (σ/v)²·(σ² + a_j²·(Var γ - 2σκ/|a|)).
    """
    difference = mixture.means[0] - mixture.means[1]
    variance = spread**2 + sigma**2
    level = torch.tensor([sigma], dtype=torch.float64)
    denoised = (x - sigma * mixture.noise_prediction(x[None], level)[0]).flatten()
    length = difference.norm()
    offset = difference @ (denoised - mixture.means.mean(0)) / variance + (mixture.weights[0] / mixture.weights[1]).log()
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    z, w = torch.from_numpy(points), torch.from_numpy(weights / weights.sum())
    gamma = torch.sigmoid(offset + sigma * length * z / variance)
    mean = (w * gamma).sum()
    kappa = (w * z * gamma).sum()
    spread_of_gamma = (w * gamma**2).sum() - mean**2
    return (sigma / variance) ** 2 * (sigma**2 + difference**2 * (spread_of_gamma - 2 * sigma * kappa / length))
