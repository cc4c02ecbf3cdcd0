"""Algorithm 1 of the paper (Eq. 7-8): from scored probes to uncertainty per element.

A probe is ``x̂ⁱ = a·x̂0 + b·nⁱ``, its noise prediction ``eⁱ = ε(x̂ⁱ, σ)``, and ``dⁱ = eⁱ - nⁱ = -(a/b)·(x̂0ⁱ - x̂0)``. The same
M passes give three quantities; to first order, with J the Jacobian of ε and C = Cov[x0 | x_t]:

* ``score_variance``      ``Var_i(eⁱ) ≈ b²·diag(J Jᵀ)``                       the paper's map, low where C is large
* ``posterior_variance``  ``(b/a)²·(1 - Cov_i(nⁱ, eⁱ)) ≈ diag C``             Stein's lemma
* ``denoised_variance``   ``Var_i(x̂0ⁱ) = (b/a)²·Var_i(dⁱ) ≈ (a/b)²·diag(C²)``

All are sample (co)variances over M - 1. Since Var n = 1 exactly, the probe noise that was drawn can be subtracted (a control
variate): ``Var(e) - Var(n) + 1`` has the same mean as ``Var(e)`` and far less noise. ``filtered``, the default, does so with
orthogonal probes and then smooths the maps along the structure of x̂0; their means, and so the scores, stay the control variate's.
With orthogonal probes what is linear in the noise is estimated without bias; of what is not, a variance misses 1/M, and a
covariance with the noise up to 2/(M + 1), as the kurtosis of the noise is that much too small.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .choices import check_choice
from .noising import Noising, per_image, variance_exploding
from .probes import Denoiser, probe_noise, score_probes
from .smoothing import along_image, shrink

QUANTITIES = ("score_variance", "posterior_variance", "denoised_variance")
ESTIMATORS = ("filtered", "control_variate", "paper", "centered")
ORTHOGONAL = ("filtered",)  # estimators that take orthogonal probes; the others take the paper's independent ones
DEFAULT_ESTIMATOR = ESTIMATORS[0]
MIN_SAMPLES = 2


@dataclass(frozen=True)
class Probes:
    """Everything known of one model call's probes.

    Attributes:
        noise: the probe noise nⁱ, shape (M, B, C, *spatial).
        scores: noise predictions eⁱ at the probes, same shape.
        perturbed: the probes x̂ⁱ themselves, same shape.
        center: noise prediction ε at x, shape (B, C, *spatial).
        noising: coefficients of this noise level.
        sigma: noise level, shape (B,).
        orthogonal: the noise is that of ``probes.orthogonal``, not independent from probe to probe.
    """

    noise: Tensor
    scores: Tensor
    perturbed: Tensor
    center: Tensor
    noising: Noising
    sigma: Tensor
    orthogonal: bool = False

    @property
    def degrees(self) -> int:
        """What sums of products of deviations are divided by: orthogonal noise has its mean, 0, in advance."""
        return len(self.noise) - (0 if self.orthogonal else 1)


@dataclass(frozen=True)
class Estimate:
    """Uncertainty of one model call: ``quantities`` by name, each (B, C, *spatial) float32, and the probes it came from."""

    quantities: Mapping[str, Tensor]
    probes: Probes


def _ratio_squared(probes: Probes) -> Tensor:
    return per_image((probes.noising.b / probes.noising.a).square(), probes.center.ndim)


def paper(probes: Probes, mask: Tensor | None = None) -> dict[str, Tensor]:
    """The plain sample variance of the paper's Eq. 8, unbiased; the other two quantities as plainly from the same passes."""
    noise, scores = probes.noise, probes.scores
    covariance = (noise * (scores - scores.mean(0))).sum(0) / (len(noise) - 1)
    return {
        "score_variance": scores.var(0),
        "posterior_variance": _ratio_squared(probes) * (1 - covariance),
        "denoised_variance": _ratio_squared(probes) * (scores - noise).var(0),
    }


def _contributions(probes: Probes) -> dict[str, Tensor]:
    """What each probe adds to the sums behind ``control_variate``, (M, B, C, *spatial) by quantity."""
    noise, scores = (values - values.mean(0) for values in (probes.noise, probes.scores))
    ratio = _ratio_squared(probes)
    terms = {
        "score_variance": scores.square() - noise.square(),
        "posterior_variance": ratio * noise * (noise - scores),
        "denoised_variance": ratio * (scores - noise).square(),
    }
    if probes.orthogonal:
        # An element's own noise has mean square 1 by design: that part of a term varies, and cancels in the sum.
        own = noise.square() - 1
        terms = {name: value - value.mean(0) * own for name, value in terms.items()}
    return terms


def _total(terms: Mapping[str, Tensor], degrees: int) -> dict[str, Tensor]:
    """The quantities that such contributions add up to."""
    means = {name: values.sum(0) / degrees for name, values in terms.items()}
    return means | {"score_variance": 1 + means["score_variance"]}


def control_variate(probes: Probes, mask: Tensor | None = None) -> dict[str, Tensor]:
    """The same expectations as ``paper``, with the sampling error of Var(n) subtracted. Values may fall below zero."""
    return _total(_contributions(probes), probes.degrees)


def filtered(probes: Probes, mask: Tensor | None = None) -> dict[str, Tensor]:
    """``control_variate`` smoothed along x̂0 as far as its noise warrants; the mean (inside the mask) stays what it was."""
    terms = _contributions(probes)
    noisy = _total(terms, probes.degrees)
    a, b = (per_image(value, probes.center.ndim) for value in (probes.noising.a, probes.noising.b))
    denoised = (probes.perturbed[0] - b * probes.noise[0]) / a
    smooth = along_image(noisy, denoised, "denoised_variance", mask)
    return {name: shrink(noisy[name], smooth[name], _jackknife_variance(values), mask) for name, values in terms.items()}


def _jackknife_variance(terms: Tensor) -> Tensor:
    """Variance of a sample covariance whose deviation products are ``terms`` (M, ...), by the jackknife over the M samples.

    Leaving sample i out changes the covariance s to ((M - 1)·s - M/(M - 1)·termᵢ)/(M - 2). Infinite where M is 2.
    """
    count = len(terms)
    if count == MIN_SAMPLES:
        return torch.full_like(terms[0], torch.inf)
    return count**2 / ((count - 1) * (count - 2) ** 2) * terms.var(0, correction=0)


def centered(probes: Probes, mask: Tensor | None = None) -> dict[str, Tensor]:
    """``mean_i (eⁱ - ε)²``, which the paper's released code computes: variance plus squared bias. The others as in ``paper``."""
    return paper(probes) | {"score_variance": (probes.scores - probes.center).square().mean(0)}


_FUNCTIONS: dict[str, Callable[[Probes, Tensor | None], dict[str, Tensor]]] = {
    "filtered": filtered,
    "control_variate": control_variate,
    "paper": paper,
    "centered": centered,
}


def quantities(probes: Probes, estimator: str, mask: Tensor | None = None) -> dict[str, Tensor]:
    """The three quantities by an estimator out of ``ESTIMATORS``; ``mask`` (B, 1, *spatial) is where the means count.

    Raises:
        ValueError: the estimator is unknown.
    """
    check_choice("estimator", estimator, ESTIMATORS)
    return _FUNCTIONS[estimator](probes, mask)


def standard_errors(probes: Probes, estimator: str, mask: Tensor | None = None) -> dict[str, Tensor]:
    """Standard error of each quantity's mean over elements, shape (B,), by the jackknife over probes (Efron 1982, ch. 3).

    Args:
        probes: of one call.
        estimator: out of ``ESTIMATORS``.
        mask: weights (B, 1, *spatial) of the mean over elements.

    Returns:
        NaN where M is 2: leaving one probe out leaves no variance.
    """
    count = len(probes.noise)
    if count == MIN_SAMPLES:
        return {name: torch.full((probes.center.shape[0],), torch.nan) for name in QUANTITIES}
    if estimator in ("control_variate", "filtered"):  # the filter keeps the means
        terms = {n: torch.stack([mean_over_elements(t, mask) for t in value]) for n, value in _contributions(probes).items()}
        return {name: _jackknife_variance(value).sqrt() for name, value in terms.items()}
    means: dict[str, list[Tensor]] = {name: [] for name in QUANTITIES}
    for left_out in range(count):
        keep = [i for i in range(count) if i != left_out]
        fewer = replace(probes, noise=probes.noise[keep], scores=probes.scores[keep])  # no estimator reads the probes themselves
        for name, value in quantities(fewer, estimator).items():
            means[name].append(mean_over_elements(value, mask))
    return {name: ((count - 1) * torch.stack(m).var(0, correction=0)).sqrt() for name, m in means.items()}


def mean_over_elements(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean per image, shape (B,), of (B, C, *spatial); inside the mask (B, 1, *spatial) if there is one."""
    if mask is None:
        return values.flatten(1).mean(1)
    weights = mask.to(values).expand_as(values).flatten(1)
    return (values.flatten(1) * weights).sum(1) / weights.sum(1)


def check_samples(samples: int) -> None:
    """Raise ValueError unless a variance can be had from that many probes."""
    if samples < MIN_SAMPLES:
        raise ValueError(f"samples must be at least {MIN_SAMPLES}, got {samples}: a variance needs two probes.")


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
    """Uncertainty of the denoised image at one noise level (the paper's Algorithm 1).

    Args:
        score: noise prediction ``ε(x, σ)``.
        x: noisy latents ``x_t``, shape (B, C, *spatial).
        sigma: noise level, a number's tensor or shape (B,).
        noising: coefficients of a noise level; ``variance_exploding`` or ``rectified_flow``, or a model's own.
        samples: M, at least 2.
        seed: of the private probe noise.
        noise: probe noise (M, B, C, *spatial), instead of ``samples`` and ``seed``.
        orthogonal: that noise is ``probes.orthogonal``.
        center: noise prediction at x if it is known already; saves one call.
        estimator: out of ``ESTIMATORS``.
        mask: (B, 1, *spatial), where the image's mean is taken; everywhere if None.
        probes_per_call: probes that go through the network at once.

    Raises:
        ValueError: fewer than two samples, an unknown estimator, or a noise level without noise or without image.
    """
    sigma = sigma.expand(len(x)) if sigma.ndim == 0 else sigma
    if noise is None:
        check_samples(samples)
        orthogonal = estimator in ORTHOGONAL
        noise = probe_noise(x.shape[1:], samples, seed, 0, 0, range(len(x)), orthogonally=orthogonal).to(x.device)
    check_samples(len(noise))
    coefficients = noising(sigma)
    if center is None:
        center = score(x, sigma)
    perturbed = coefficients.renoise(x, center, noise)
    scores = score_probes(score, perturbed, sigma, probes_per_call)
    probes = Probes(noise, scores, perturbed, center, coefficients, sigma, orthogonal)
    return Estimate(quantities(probes, estimator, mask), probes)
