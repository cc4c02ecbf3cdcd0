"""Scores of images: one number an image, from a quantity's map or from a baseline; and which end of them is good."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from .baselines import BASELINES, Baseline
from .choices import check_choice
from .quantities import QUANTITIES, Quantity

SCORES: Mapping[str, Quantity | Baseline] = MappingProxyType({**QUANTITIES, **BASELINES})
"""Everything images can be scored by, by name."""

BAD_ENDS = ("highest", "lowest")


class Score(NamedTuple):
    """One number an image, with its Monte-Carlo standard error; both shape (B,)."""

    value: Tensor
    standard_error: Tensor


def bad_end(name: str) -> str:
    """Which end of a score is bad, out of ``BAD_ENDS``.

    Raises:
        ValueError: no such score.
    """
    check_choice("quantity", name, SCORES)
    return "lowest" if SCORES[name].high_is_sure else "highest"


def badness(scores: Tensor, reject: str) -> Tensor:
    """Scores turned so that high is bad, for one of ``BAD_ENDS``."""
    return scores if reject == "highest" else -scores


def finite(value: Tensor) -> float | None:
    """One number for JSON and SQL, which know no NaN."""
    return float(value) if bool(torch.isfinite(value)) else None
