"""Variance of the images that are compatible with the noisy one, by Stein's lemma.

    diag Cov[x0 | x_t, prompt] ≈ (b/a)²·(1 - Cov_i(nⁱ, ε_cⁱ))

The lemma holds for the scores of a noised density. Guided predictions are none (Bradley & Nakkiran 2024, arXiv 2408.09000): with
guidance w they would give w·C_c - (w - 1)·C_u, which can be negative. So the predictions under the prompt alone are taken.
"""

from torch import Tensor

from ..probes import Probes, ratio_squared
from .quantity import ProbedQuantity


def plain(probes: Probes) -> Tensor:
    """From the sample covariance."""
    noise, scores = probes.noise, probes.prompted
    covariance = (noise * (scores - scores.mean(0))).sum(0) / (len(noise) - 1)
    return ratio_squared(probes) * (1 - covariance)


def terms(probes: Probes) -> Tensor:
    """With the sample variance of the probe noise in place of its limit 1, so that sampling errors cancel."""
    noise, _ = probes.deviations
    scores = probes.prompted - probes.prompted.mean(0)
    return ratio_squared(probes) * noise * (noise - scores)


QUANTITY = ProbedQuantity(
    name="posterior_variance",
    label="Possible images",
    meaning="How many different images fit what is visible through the noise. High means unsure.",
    high_is_sure=False,
    color="#5ccfe6",
    plain=plain,
    terms=terms,
)
