"""A diagonal Laplace approximation of a network's last layer (Daxberger et al. 2021, arXiv 2106.14806), as used by BayesDiff.

With the squared error SE_n of image n summed over its elements, the posterior precision of a weight is the empirical Fisher
information plus the prior precision, ``0.5·Σ_n (∂SE_n/∂w)² + 1``. The gradient and the predictive variance of a linear layer are
closed-form expressions of its input, so autograd is not needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, unfold

PRIOR_PRECISION = 1.0


@dataclass(frozen=True, eq=False)
class Laplace:
    """Posterior variance of the last layer's parameters.

    Attributes:
        weight: variances, in the shape of the layer's weight.
        bias: variances, (out,), or None if the layer has no bias.
        layer: name of the layer within the diffusion model.
        settings: settings of the fit, JSON-serialisable.
    """

    weight: Tensor
    bias: Tensor | None
    layer: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to(self, device: torch.device) -> "Laplace":
        """A copy on another device."""
        return replace(self, weight=self.weight.to(device), bias=None if self.bias is None else self.bias.to(device))


def check_layer(layer: nn.Module, name: str) -> None:
    """Raise ValueError unless the layer is linear or an ordinary two-dimensional convolution, where the closed forms hold."""
    plain = isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.padding_mode == "zeros" and layer.padding != "same"
    if not (plain or isinstance(layer, nn.Linear)):
        raise ValueError(
            f"bayesdiff needs a linear or convolutional last layer, but {name} is a {type(layer).__name__}: disconnect laplace."
        )


def squared_gradients(layer: nn.Module, features: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
    """``Σ_n (∂L_n/∂w)²`` of weight and bias over N samples.

    Args:
        layer: a linear layer or a convolution.
        features: input of the layer, (N, ..., in) or (N, in, H, W).
        errors: ∂L_n/∂output, in the shape of the layer's output.
    """
    if isinstance(layer, nn.Conv2d):
        padding = cast("tuple[int, ...]", layer.padding)
        patches = unfold(features, layer.kernel_size, layer.dilation, padding, layer.stride)
        gradient = torch.einsum("nop,nip->noi", errors.flatten(2), patches).reshape(-1, *layer.weight.shape)
        bias = errors.flatten(2).sum(2)
    else:
        rows = errors.flatten(1, -2), features.flatten(1, -2)
        gradient = torch.einsum("npo,npi->noi", *rows)
        bias = rows[0].sum(1)
    return gradient.square().sum(0), bias.square().sum(0)


def output_variance(layer: nn.Module, laplace: Laplace, features: Tensor) -> Tensor:
    """Variance of the layer's output for an input f, exact for independent weights: ``f²·Var(w) + Var(b)``."""
    if isinstance(layer, nn.Conv2d):
        return conv2d(features.square(), laplace.weight, laplace.bias, layer.stride, layer.padding, layer.dilation)
    return linear(features.square(), laplace.weight, laplace.bias)


def posterior(squares: Tensor, prior_precision: float = PRIOR_PRECISION) -> Tensor:
    """Posterior variances from summed squared gradients."""
    return 1 / (0.5 * squares + prior_precision)
