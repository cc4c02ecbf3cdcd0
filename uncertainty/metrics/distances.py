"""Distances between the distributions of real and generated images, in the embedding of any network.

Over features other than Inception-v3's the Fréchet distance must not be called FID.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def principal(real: Tensor, dimensions: int) -> Callable[[Tensor], Tensor]:
    """Projection of embeddings (N, D) on the first principal components of the real ones (R, D): few images fill few dimensions.

    Raises:
        ValueError: more dimensions than real images or features.
    """
    if not 1 <= dimensions <= min(real.shape[1], len(real) - 1):
        raise ValueError(f"dimensions must lie between 1 and {min(real.shape[1], len(real) - 1)}, got {dimensions}.")
    mean = real.double().mean(0)
    components = torch.linalg.svd(real.double() - mean, full_matrices=False).Vh[:dimensions]
    return lambda features: (features.double() - mean) @ components.T


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """``|μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2·(Σ₁Σ₂)^½)`` of embeddings (R, D) and (N, D) (Heusel et al. 2017, Eq. 6)."""
    first, second = real.double(), generated.double()
    root = _root(_covariance(first))
    middle = torch.linalg.eigvalsh(root @ _covariance(second) @ root).clamp(min=0).sqrt().sum()
    spread = first.var(0).sum() + second.var(0).sum() - 2 * middle
    return float((first.mean(0) - second.mean(0)).square().sum() + spread)


def _covariance(features: Tensor) -> Tensor:
    centred = features - features.mean(0)
    return centred.T @ centred / (len(features) - 1)


def _root(matrix: Tensor) -> Tensor:
    vectors: Tensor
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
