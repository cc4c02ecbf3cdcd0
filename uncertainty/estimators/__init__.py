"""Estimators of the quantities from probes. Each estimator is declared once, in its own module, and listed here.

``docs/extending.md`` shows how to add one.
"""

from collections.abc import Mapping
from types import MappingProxyType

from . import centered, control_variate, filtered, paper
from .estimator import Estimator
from .jackknife import mean_over_elements

ESTIMATORS: Mapping[str, Estimator] = MappingProxyType(
    {
        estimator.name: estimator
        for estimator in (
            filtered.ESTIMATOR,
            control_variate.ESTIMATOR,
            paper.ESTIMATOR,
            centered.ESTIMATOR,
        )
    }
)
"""By name, in the order of choices: add new estimators at the end."""

DEFAULT_ESTIMATOR = filtered.ESTIMATOR.name
"""The estimator with the least noise at equal cost (docs/method.md)."""

__all__ = ["DEFAULT_ESTIMATOR", "ESTIMATORS", "Estimator", "mean_over_elements"]
