"""The sample covariances with the sampling error of the probe noise subtracted.

The true variance of the probe noise is exactly 1, so the error of its sample variance is known and serves as a control variate.
The expectation is that of ``paper``, with far less noise. Values may be negative.
"""

import torch
from torch import Tensor

from ..probes import MIN_SAMPLES, Probes
from ..quantities import PROBED
from .estimator import Estimator, Maps
from .jackknife import jackknife_variance, mean_over_elements, unknown


def contributions(probes: Probes) -> Maps:
    """The terms of each probe for each quantity, (M, B, C, *spatial)."""
    terms = {name: quantity.terms(probes) for name, quantity in PROBED.items()}
    if probes.orthogonal:
        # By construction, an element's own noise has mean square 1. Its part of a term varies, but cancels in the sum.
        own = probes.deviations[0].square() - 1
        terms = {name: value - value.mean(0) * own for name, value in terms.items()}
    return terms


def total(terms: Maps, probes: Probes) -> Maps:
    """The quantities, from the ``contributions`` of the probes."""
    means = {name: values.sum(0) / PROBED[name].degrees(probes) for name, values in terms.items()}
    return {name: PROBED[name].known + mean if PROBED[name].known else mean for name, mean in means.items()}


def maps(probes: Probes, mask: Tensor | None = None) -> Maps:
    """Each quantity, estimated from the terms it declares."""
    return total(contributions(probes), probes)


def standard_errors(probes: Probes, mask: Tensor | None = None) -> Maps:
    """Standard error of each quantity's mean over elements (inside the mask), (B,); NaN if M is 2."""
    if len(probes.noise) == MIN_SAMPLES:
        return unknown(probes)
    means = {
        name: torch.stack([mean_over_elements(term, mask) for term in terms]) for name, terms in contributions(probes).items()
    }
    return {name: jackknife_variance(values, PROBED[name].centred).sqrt() for name, values in means.items()}


ESTIMATOR = Estimator(
    name="control_variate",
    summary="the variance without the sampling error of the probe noise, not smoothed",
    maps=maps,
    standard_errors=standard_errors,
)
