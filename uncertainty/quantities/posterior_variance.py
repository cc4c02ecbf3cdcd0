"""Variance of the images that are compatible with the noisy one, by Stein's lemma.

diag Cov[x0 | x_t] ≈ (b/a)²·(1 - Cov_i(nⁱ, eⁱ))
"""

from torch import Tensor

from ..probes import Probes, ratio_squared
from .quantity import Quantity


def plain(probes: Probes) -> Tensor:
    """From the sample covariance."""
    noise, scores = probes.noise, probes.scores
    covariance = (noise * (scores - scores.mean(0))).sum(0) / (len(noise) - 1)
    return ratio_squared(probes) * (1 - covariance)


def terms(probes: Probes) -> Tensor:
    """With the sample variance of the probe noise in place of its limit 1, so that sampling errors cancel."""
    noise, scores = probes.deviations
    return ratio_squared(probes) * noise * (noise - scores)


QUANTITY = Quantity(
    name="posterior_variance",
    label="Possible images",
    meaning="How many different images fit what is visible through the noise. High means unsure.",
    high_is_sure=False,
    color="#5ccfe6",
    plain=plain,
    terms=terms,
)
