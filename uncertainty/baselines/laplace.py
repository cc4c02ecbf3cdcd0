"""A diagonal Laplace approximation of a network's last layer (Daxberger et al. 2021, arXiv 2106.14806)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Laplace:
    """Posterior variance of the last layer's parameters.

    Attributes:
        weight: variances, the shape of the layer's weight.
        bias: variances, (out,), or None where it has none.
        layer: name of the layer within the diffusion model.
        settings: what it was fitted on, JSON-able.
    """

    weight: Tensor
    bias: Tensor | None
    layer: str
    settings: Mapping[str, Any] = field(default_factory=dict)
