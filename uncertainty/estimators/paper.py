"""The plain sample variance of the paper (Eq. 8), unbiased, over independent probes; the other quantities as plainly."""

from torch import Tensor

from ..probes import Probes
from ..quantities import QUANTITIES
from .estimator import Estimator, Maps
from .jackknife import leave_one_out


def maps(probes: Probes, mask: Tensor | None = None) -> Maps:
    """Each quantity by its plain estimate."""
    return {name: quantity.plain(probes) for name, quantity in QUANTITIES.items()}


ESTIMATOR = Estimator(
    name="paper",
    summary="the plain variance, as in the paper",
    maps=maps,
    standard_errors=leave_one_out(maps),
)
