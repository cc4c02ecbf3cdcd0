"""Variance of the denoised image over the probes.

Var_i(x̂0ⁱ) = (b/a)²·Var_i(eⁱ - nⁱ) ≈ (a/b)²·diag(C²),  C = Cov[x0 | x_t]
"""

from torch import Tensor

from ..probes import Probes, ratio_squared
from .quantity import ProbedQuantity


def plain(probes: Probes) -> Tensor:
    """The unbiased sample variance."""
    return ratio_squared(probes) * (probes.scores - probes.noise).var(0)


def terms(probes: Probes) -> Tensor:
    """The terms of the same estimate, which already has little noise because the probe noise is subtracted."""
    noise, scores = probes.deviations
    return ratio_squared(probes) * (scores - noise).square()


QUANTITY = ProbedQuantity(
    name="denoised_variance",
    label="Image change",
    meaning="How much the finished image still changes when noise is added and removed again. High means unsure.",
    high_is_sure=False,
    color="#ffb454",
    plain=plain,
    terms=terms,
)
