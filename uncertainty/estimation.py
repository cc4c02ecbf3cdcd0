"""Algorithm 1 of the paper: denoise, add fresh noise M times, predict the noise of each copy, and measure how much it varies.

A probe is ``x̂ⁱ = a·x̂0 + b·nⁱ`` and its noise prediction ``eⁱ = ε(x̂ⁱ, σ)`` (Eq. 7). ``quantities`` defines what is measured of
each element (Eq. 8 is ``score_variance``); ``estimators`` defines how it is estimated from few probes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .choices import check_choice
from .estimators import DEFAULT_ESTIMATOR, ESTIMATORS
from .noising import Noising, variance_exploding
from .parts import Parts, plain
from .probes import BothScores, Denoiser, Probes, check_samples, packed_noise, score_probes, score_probes_both


@dataclass(frozen=True)
class Estimate:
    """Uncertainty of one model call.

    Attributes:
        quantities: by name, each (B, C, *spatial) float32; of packed latents (B, 1, N).
        probes: from which they were estimated.
    """

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
    both: BothScores | None = None,
    noise: Tensor | None = None,
    orthogonal: bool = False,
    center: Tensor | None = None,
    estimator: str = DEFAULT_ESTIMATOR,
    mask: Tensor | None = None,
    probes_per_call: int | None = None,
    parts: Parts | None = None,
) -> Estimate:
    """Uncertainty of the denoised image at one noise level.

    Args:
        score: noise prediction ``ε(x, σ)``.
        x: noisy latents ``x_t``, shape (B, C, *spatial).
        sigma: noise level, a scalar tensor or shape (B,).
        noising: coefficients of a noise level: ``variance_exploding``, ``rectified_flow``, or a function of the model's own.
        samples: M, at least 2.
        seed: seed of the probe noise.
        both: predicts probes in place of ``score``, also under the prompt alone; None if ``score`` is the latter.
        noise: probe noise (M, B, C, *spatial), used instead of ``samples`` and ``seed``.
        orthogonal: whether ``noise`` was made by ``probes.orthogonal``.
        center: noise prediction at x, if already known; saves one call.
        estimator: one of ``ESTIMATORS``.
        mask: (B, 1, *spatial), where means over the image are taken; None for everywhere.
        probes_per_call: number of probes per call of the network; None for all.
        parts: shapes of the parts if x holds packed latents, (B, 1, N): each part is estimated by itself. The mask is packed too.

    Raises:
        ValueError: fewer than two samples, an unknown estimator, or a noise level at which a or b is 0.
    """
    check_choice("estimator", estimator, ESTIMATORS)
    declared = ESTIMATORS[estimator]
    sigma = sigma.expand(len(x)) if sigma.ndim == 0 else sigma
    parts = plain(x.shape[1:]) if parts is None else parts
    if noise is None:
        check_samples(samples)
        orthogonal = declared.orthogonal
        noise = packed_noise(parts, samples, seed, 0, 0, range(len(x)), orthogonally=orthogonal).to(x.device)
    check_samples(len(noise))
    coefficients = noising(sigma)
    if center is None:
        center = score(x, sigma)
    perturbed = coefficients.renoise(x, center, noise)
    if both is None:
        scores, conditional = score_probes(score, perturbed, sigma, probes_per_call), None
    else:
        scores, conditional = score_probes_both(both, perturbed, sigma, probes_per_call)
    probes = Probes(noise, scores, perturbed, center, coefficients, sigma, orthogonal, conditional)
    maps = [declared.maps(alone, within) for alone, within in zip(probes.split(parts), parts.masks(mask), strict=True)]
    return Estimate({name: parts.join([each[name] for each in maps]) for name in maps[0]}, probes)
