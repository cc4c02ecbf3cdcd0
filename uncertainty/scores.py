"""Scores of images: one number per image, from the map of a quantity or from a baseline, and which end of the scale is bad."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from .baselines import BASELINES, Baseline
from .choices import check_choice
from .quantities import QUANTITIES, Quantity

SCORES: Mapping[str, Quantity | Baseline] = MappingProxyType({**QUANTITIES, **BASELINES})
"""All quantities and baselines by which images can be scored, by name."""

BAD_ENDS = ("highest", "lowest")


class Score(NamedTuple):
    """One number per image and its Monte-Carlo standard error, both shape (B,)."""

    value: Tensor
    standard_error: Tensor


def bad_end(name: str) -> str:
    """Which end of a score is bad, one of ``BAD_ENDS``.

    Raises:
        ValueError: the score is unknown.
    """
    check_choice("quantity", name, SCORES)
    return "lowest" if SCORES[name].high_is_sure else "highest"


def badness(scores: Tensor, reject: str) -> Tensor:
    """Scores with the sign that makes high bad; ``reject`` is one of ``BAD_ENDS``."""
    return scores if reject == "highest" else -scores


def measured(value: Tensor | float, error: Tensor | float, digits: int = 4) -> str:
    """A score in so many digits, and its standard error if there is one: drift, baselines and ranks have none."""
    return f"{value:.{digits}g} ± {error:.2g}" if math.isfinite(error) else f"{value:.{digits}g}"


def finite(value: Tensor) -> float | None:
    """The number, or None if it is not finite, because JSON and SQL have no NaN."""
    return float(value) if bool(torch.isfinite(value)) else None
