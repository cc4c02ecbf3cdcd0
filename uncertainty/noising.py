"""The noising process ``x_t = a(σ)·x0 + b(σ)·n``, ``n ~ N(0, I)``, for any model family (paper Eq. 2, generalised)."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def per_image(value: Tensor, ndim: int) -> Tensor:
    """Reshape a scalar or per-image (B,) coefficient so that it broadcasts over (B, C, *spatial)."""
    return value if value.ndim == 0 else value.reshape(-1, *([1] * (ndim - 1)))


@dataclass(frozen=True)
class Noising:
    """Coefficients of one noise level: signal ``a`` and noise ``b``, scalars or shape (B,)."""

    a: Tensor
    b: Tensor

    def __post_init__(self) -> None:
        """Reject noise levels at which the noise prediction or the denoised image is undefined.

        Raises:
            ValueError: ``b`` is 0 (no noise) or ``a`` is 0 (pure noise).
        """
        if not bool(torch.all(self.b > 0)):
            raise ValueError(
                f"noise coefficient b must be above 0, got {self.b.tolist()}: this model adds no noise at this noise level."
            )
        if not bool(torch.all(self.a > 0)):
            raise ValueError(
                f"signal coefficient a must be above 0, got {self.a.tolist()}: the first step of a flow model sees pure noise "
                "and cannot be measured. Start the window after the first step, and use at least two steps."
            )

    def repeated(self, copies: int) -> "Noising":
        """The coefficients of so many copies of a batch, of shape (copies·B,)."""
        return self._unchecked(self.a.repeat(copies), self.b.repeat(copies))

    def moved(self, move: Callable[[Tensor], Tensor]) -> "Noising":
        """The coefficients where ``move`` puts them, such as on a graphics card."""
        return self._unchecked(move(self.a), move(self.b))

    def _unchecked(self, a: Tensor, b: Tensor) -> "Noising":
        """The same coefficients elsewhere. A second check would make the processor wait for a graphics card."""
        same = copy.copy(self)
        vars(same).update(a=a, b=b)
        return same

    def noise_prediction(self, x: Tensor, denoised: Tensor) -> Tensor:
        """The noise that a denoised image implies, ``ε = (x - a·x̂0) / b``; all shapes (B, C, *spatial)."""
        return (x - per_image(self.a, x.ndim) * denoised) / per_image(self.b, x.ndim)

    def denoised(self, x: Tensor, noise_prediction: Tensor) -> Tensor:
        """The denoised image that a noise prediction implies, ``x̂0 = (x - b·ε) / a``."""
        return (x - per_image(self.b, x.ndim) * noise_prediction) / per_image(self.a, x.ndim)

    def noised(self, denoised: Tensor, noise: Tensor) -> Tensor:
        """An image with noise (M, B, C, *spatial): ``a·x̂0 + b·nⁱ``."""
        return per_image(self.a, denoised.ndim) * denoised + per_image(self.b, denoised.ndim) * noise

    def renoise(self, x: Tensor, noise_prediction: Tensor, noise: Tensor) -> Tensor:
        """The denoised image with new noise (M, B, C, *spatial): ``x̂ⁱ = a·x̂0 + b·nⁱ = x + b·(nⁱ - ε)``."""
        return x + per_image(self.b, x.ndim) * (noise - noise_prediction)


def variance_exploding(sigma: Tensor) -> Noising:
    """``x = x0 + σ·n``: EPS, V_PREDICTION, EDM and X0 models as k-diffusion scales them."""
    return Noising(torch.ones_like(sigma), sigma)


def rectified_flow(sigma: Tensor) -> Noising:
    """``x = (1 - σ)·x0 + σ·n``: CONST models (SD3, Flux, AuraFlow, …)."""
    return Noising(1 - sigma, sigma)


def from_noise_scaling(noise_scaling: Callable[[Tensor, Tensor, Tensor], Tensor], sigma: Tensor) -> Noising:
    """The coefficients of a model's own ``noise_scaling(sigma, noise, image)``, which must be affine.

    Args:
        noise_scaling: ComfyUI's ``model_sampling.noise_scaling``.
        sigma: noise levels, shape (B,).

    Returns:
        Coefficients of shape (B,).
    """
    zero, one = torch.zeros_like(sigma)[:, None], torch.ones_like(sigma)[:, None]
    # Cloned, because ComfyUI's implementations may overwrite their arguments.
    a = noise_scaling(sigma, zero.clone(), one.clone())[:, 0]
    b = noise_scaling(sigma, one.clone(), zero.clone())[:, 0]
    return Noising(a, b)
