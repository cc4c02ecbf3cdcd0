"""``control_variate`` with orthogonal probes, smoothed along the structure of x̂0 as far as its noise warrants.

Smoothing keeps the mean of each image, and therefore its score and standard error. With orthogonal probes, the network's linear
response to the noise is estimated without bias. For the nonlinear part, a variance is too small by 1/M, and a covariance with the
noise by up to 2/(M + 1), because the kurtosis of the noise is smaller than that of a normal distribution by this factor.
"""

from torch import Tensor

from ..probes import Probes
from ..quantities import PROBED
from ..smoothing import along_image, shrink
from . import control_variate
from .estimator import Estimator, Maps
from .jackknife import jackknife_variance

# The least noisy variance, which guides the smoothing of the others.
PILOT = "denoised_variance"


def maps(probes: Probes, mask: Tensor | None = None) -> Maps:
    """The quantities, smoothed where they declare so. Their means (inside the mask) equal those of ``control_variate``."""
    terms = control_variate.contributions(probes)
    noisy = control_variate.total(terms, probes)
    smooth = along_image({name: noisy[name] for name in noisy if PROBED[name].smoothed}, probes.denoised, PILOT, mask)
    shrunk = {name: shrink(noisy[name], smooth[name], jackknife_variance(terms[name]), mask) for name in smooth}
    return noisy | shrunk


ESTIMATOR = Estimator(
    name="filtered",
    summary="the least noisy, like control_variate and smoothed along the image",
    maps=maps,
    standard_errors=control_variate.standard_errors,
    orthogonal=True,
    averages_gradient=True,
)
