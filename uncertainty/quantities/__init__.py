"""What can be measured of every element. Each quantity is declared once, in a module of its own, and listed here.

``docs/extending.md`` shows how to add one.
"""

from collections.abc import Mapping
from types import MappingProxyType

from . import denoised_variance, posterior_variance, score_variance
from .quantity import Quantity

QUANTITIES: Mapping[str, Quantity] = MappingProxyType(
    {
        quantity.name: quantity
        for quantity in (
            score_variance.QUANTITY,
            posterior_variance.QUANTITY,
            denoised_variance.QUANTITY,
        )
    }
)
"""By name, in the order of choices and columns: add new ones at the end."""

DEFAULT_QUANTITY = denoised_variance.QUANTITY.name
"""The one that the evidence supports best, for maps, masks and ranking alike (docs/evidence.md)."""

__all__ = ["DEFAULT_QUANTITY", "QUANTITIES", "Quantity"]
