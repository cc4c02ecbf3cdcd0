"""The quantities that are measured for every element. Each is declared once, in its own module, and listed here.

``docs/extending.md`` shows how to add one.
"""

from collections.abc import Mapping
from types import MappingProxyType

from . import denoised_variance, denoising_loss, drift, posterior_variance, score_variance
from .quantity import ProbedQuantity, Quantity

QUANTITIES: Mapping[str, Quantity] = MappingProxyType(
    {
        quantity.name: quantity
        for quantity in (
            score_variance.QUANTITY,
            posterior_variance.QUANTITY,
            denoised_variance.QUANTITY,
            denoising_loss.QUANTITY,
            drift.QUANTITY,
        )
    }
)
"""By name, in the order of choices and columns: add new quantities at the end."""

PROBED: Mapping[str, ProbedQuantity] = MappingProxyType(
    {name: quantity for name, quantity in QUANTITIES.items() if isinstance(quantity, ProbedQuantity)}
)
"""Those that probes estimate, at each recorded step. The others come from the whole run."""

DEFAULT_QUANTITY = denoised_variance.QUANTITY.name
"""The quantity best supported by the evidence, for maps, masks and ranking (docs/evidence.md)."""

__all__ = ["DEFAULT_QUANTITY", "PROBED", "QUANTITIES", "ProbedQuantity", "Quantity"]
