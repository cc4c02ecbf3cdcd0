"""``control_variate`` with orthogonal probes, smoothed along the structure of x̂0 as far as its noise warrants.

Smoothing keeps the mean of each image, and therefore its score and standard error. With orthogonal probes, the network's linear
response to the noise is estimated without bias. For the nonlinear part, a variance is too small by 1/M, and a covariance with the
noise by up to 2/(M + 1), because the kurtosis of the noise is smaller than that of a normal distribution by this factor.
"""

from torch import Tensor

from ..probes import Probes
from ..quantities import PROBED
from ..smoothing import along_image, shrink, with_defects
from . import control_variate
from .estimator import Estimator, Maps
from .jackknife import jackknife_variance

# The least noisy quantity, which guides the smoothing of all quantities.
PILOT = "denoised_variance"


def maps(probes: Probes, mask: Tensor | None = None) -> Maps:
    """The smoothed quantities. Their means (inside the mask) equal those of ``control_variate``."""
    terms = control_variate.contributions(probes)
    noisy = control_variate.total(terms, probes)
    noise = {name: jackknife_variance(values, PROBED[name].centred) for name, values in terms.items()}
    # Geometric means, which a spot of high values, and so of high noise, hardly changes.
    usual = {f"noise of {name}": (values.mean(1, keepdim=True) / values.shape[1]).log() for name, values in noise.items()}
    smooth, share = along_image(noisy | usual, probes.denoised, PILOT, mask)
    shrunk = {name: shrink(noisy[name], smooth[name], (1 - share) * noise[name], mask) for name in terms}
    return {name: with_defects(noisy[name], shrunk[name], smooth[f"noise of {name}"].exp(), mask) for name in terms}


ESTIMATOR = Estimator(
    name="filtered",
    summary="the least noisy, like control_variate and smoothed along the image",
    maps=maps,
    standard_errors=control_variate.standard_errors,
    orthogonal=True,
    averages_gradient=True,
)
