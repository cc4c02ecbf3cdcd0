"""Distances between the distributions of real and generated images, in the embedding of any network.

With features other than Inception-v3's, the Fréchet distance must not be called FID. It is implemented here because a confidence
interval needs thousands of evaluations; tests compare it with torchmetrics. The other distances come from libraries.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def principal(real: Tensor, dimensions: int) -> Callable[[Tensor], Tensor]:
    """Projection of embeddings (N, D) onto the first principal components of the real ones (R, D).

    For few images: their covariance has full rank only in few dimensions.

    Raises:
        ValueError: more dimensions than features, or not fewer than real images.
    """
    if not 1 <= dimensions <= min(real.shape[1], len(real) - 1):
        raise ValueError(f"dimensions must be between 1 and {min(real.shape[1], len(real) - 1)}, got {dimensions}.")
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


def kernel_distance(real: Tensor, generated: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel ``(x·y/D + 1)³`` (Bińkowski et al. 2018), by torchmetrics.

    Args:
        real: embeddings (R, D).
        generated: embeddings (N, D).

    Raises:
        RuntimeError: a library is missing.
    """
    return float(_libraries()[0](real.double(), generated.double()))


def precision_recall(real: Tensor, generated: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Fraction of generated images inside the manifold of the real ones, and vice versa (Kynkäänniemi et al. 2019).

    Computed by torch-fidelity.

    Args:
        real: embeddings (R, D).
        generated: embeddings (N, D).
        neighbours: k; the manifold is the union of balls whose radius is the distance to the k-th nearest neighbour.

    Raises:
        RuntimeError: a library is missing.
    """
    precision, recall = _libraries()[1](generated.double(), real.double(), neighbours)
    return float(precision), float(recall)


def check_libraries() -> None:
    """Raise RuntimeError if a library is missing. Call it before hours of sampling, not after."""
    _libraries()


def _libraries() -> tuple[Callable[..., Any], Callable[..., Any]]:
    try:
        from torch_fidelity.metric_prc import calculate_precision_recall_full
        from torchmetrics.image.kid import poly_mmd
    except ImportError as error:
        raise RuntimeError(f"{error.name} is missing: pip install torchmetrics torch-fidelity.") from error
    return poly_mmd, calculate_precision_recall_full


def _covariance(features: Tensor) -> Tensor:
    centred = features - features.mean(0)
    return centred.T @ centred / (len(features) - 1)


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root
