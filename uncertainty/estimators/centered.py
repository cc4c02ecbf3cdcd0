"""``mean_i (eⁱ - ε)²``, as in the paper's released code: variance plus squared bias. Otherwise the same as ``paper``."""

from torch import Tensor

from ..probes import Probes
from . import paper
from .estimator import Estimator, Maps
from .jackknife import leave_one_out


def maps(probes: Probes, mask: Tensor | None = None) -> Maps:
    """The quantities of ``paper``, but with ``score_variance`` around the prediction at x instead of the probes' mean."""
    return paper.maps(probes) | {"score_variance": (probes.scores - probes.center).square().mean(0)}


ESTIMATOR = Estimator(
    name="centered",
    summary="variance plus squared bias, as in the code released with the paper",
    maps=maps,
    standard_errors=leave_one_out(maps),
)
