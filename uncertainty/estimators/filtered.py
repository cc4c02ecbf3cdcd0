"""``control_variate`` with orthogonal probes, smoothed along the structure of x̂0 as far as its noise warrants.

Smoothing keeps the mean of each image, and so its score and standard error. With orthogonal probes what is linear in the noise
is estimated without bias; of what is not, a variance misses 1/M, and a covariance with the noise up to 2/(M + 1), because the
kurtosis of the noise is that much too small.
"""

from torch import Tensor

from ..probes import Probes
from ..smoothing import along_image, shrink
from . import control_variate
from .estimator import Estimator, Maps
from .jackknife import jackknife_variance

# The least noisy quantity: it guides the smoothing of all of them.
PILOT = "denoised_variance"


def maps(probes: Probes, mask: Tensor | None = None) -> Maps:
    """The smoothed quantities; their means (inside the mask) are those of ``control_variate``."""
    terms = control_variate.contributions(probes)
    noisy = control_variate.total(terms, probes.degrees)
    smooth = along_image(noisy, probes.denoised, PILOT, mask)
    return {name: shrink(noisy[name], smooth[name], jackknife_variance(values), mask) for name, values in terms.items()}


ESTIMATOR = Estimator(
    name="filtered",
    summary="the least noisy, like control_variate and smoothed along the image",
    maps=maps,
    standard_errors=control_variate.standard_errors,
    orthogonal=True,
    averages_gradient=True,
)
