"""Algorithm 1 of the paper: denoise, add fresh noise M times, predict the noise of each copy, and measure how much it varies.

A probe is ``x̂ⁱ = a·x̂0 + b·nⁱ`` and its noise prediction ``eⁱ = ε(x̂ⁱ, σ)`` (Eq. 7). What the probes tell of each element is in
``quantities`` (Eq. 8 is ``score_variance``), how it is estimated from few probes in ``estimators``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .choices import check_choice
from .estimators import DEFAULT_ESTIMATOR, ESTIMATORS
from .noising import Noising, variance_exploding
from .probes import Denoiser, Probes, check_samples, probe_noise, score_probes


@dataclass(frozen=True)
class Estimate:
    """Uncertainty of one model call: ``quantities`` by name, each (B, C, *spatial) float32, and the probes it came from."""

    quantities: Mapping[str, Tensor]
    probes: Probes


def estimate(
    score: Denoiser,
    x: Tensor,
    sigma: Tensor,
    *,
    noising: Callable[[Tensor], Noising] = variance_exploding,
    samples: int = 5,
    seed: int = 0,
    noise: Tensor | None = None,
    orthogonal: bool = False,
    center: Tensor | None = None,
    estimator: str = DEFAULT_ESTIMATOR,
    mask: Tensor | None = None,
    probes_per_call: int | None = None,
) -> Estimate:
    """Uncertainty of the denoised image at one noise level.

    Args:
        score: noise prediction ``ε(x, σ)``.
        x: noisy latents ``x_t``, shape (B, C, *spatial).
        sigma: noise level, a number's tensor or shape (B,).
        noising: coefficients of a noise level; ``variance_exploding`` or ``rectified_flow``, or a model's own.
        samples: M, at least 2.
        seed: of the private probe noise.
        noise: probe noise (M, B, C, *spatial), instead of ``samples`` and ``seed``.
        orthogonal: whether that noise is ``probes.orthogonal``.
        center: noise prediction at x if it is known already; saves one call.
        estimator: out of ``ESTIMATORS``.
        mask: (B, 1, *spatial), where the image's mean is taken; everywhere if None.
        probes_per_call: probes that go through the network at once.

    Raises:
        ValueError: fewer than two samples, an unknown estimator, or a noise level without noise or without image.
    """
    check_choice("estimator", estimator, ESTIMATORS)
    declared = ESTIMATORS[estimator]
    sigma = sigma.expand(len(x)) if sigma.ndim == 0 else sigma
    if noise is None:
        check_samples(samples)
        orthogonal = declared.orthogonal
        noise = probe_noise(x.shape[1:], samples, seed, 0, 0, range(len(x)), orthogonally=orthogonal).to(x.device)
    check_samples(len(noise))
    coefficients = noising(sigma)
    if center is None:
        center = score(x, sigma)
    perturbed = coefficients.renoise(x, center, noise)
    scores = score_probes(score, perturbed, sigma, probes_per_call)
    probes = Probes(noise, scores, perturbed, center, coefficients, sigma, orthogonal)
    return Estimate(declared.maps(probes, mask), probes)
