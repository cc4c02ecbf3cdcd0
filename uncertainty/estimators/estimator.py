"""The declaration of an estimator."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..probes import Probes

Maps = dict[str, Tensor]
"""Tensors by the name of the quantity."""


@dataclass(frozen=True)
class Estimator:
    """One way to estimate the quantities from the probes of a model call.

    Attributes:
        name: name in choices and files. Saved workflows contain it, so it never changes after a release.
        summary: a few words for the user.
        maps: computes the quantities, each (B, C, *spatial), from the probes and the mask (B, 1, *spatial) for means.
        standard_errors: computes the standard error of each quantity's mean over elements (inside the mask), (B,).
        orthogonal: whether it uses orthogonal probes; the paper's are independent.
        averages_gradient: whether guidance averages its gradient over the steps of a run.
    """

    name: str
    summary: str
    maps: Callable[[Probes, Tensor | None], Maps]
    standard_errors: Callable[[Probes, Tensor | None], Maps]
    orthogonal: bool = False
    averages_gradient: bool = False
