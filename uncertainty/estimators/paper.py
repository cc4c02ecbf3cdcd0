"""The paper's unbiased sample variance (Eq. 8) over independent probes, and plain sample estimates of the other quantities."""

from torch import Tensor

from ..probes import Probes
from ..quantities import PROBED
from .estimator import Estimator, Maps
from .jackknife import leave_one_out


def maps(probes: Probes, mask: Tensor | None = None) -> Maps:
    """The plain sample estimate of each quantity."""
    return {name: quantity.plain(probes) for name, quantity in PROBED.items()}


ESTIMATOR = Estimator(
    name="paper",
    summary="the plain variance, as in the paper",
    maps=maps,
    standard_errors=leave_one_out(maps),
)
