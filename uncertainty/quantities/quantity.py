"""The declaration of a quantity."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..probes import Probes


@dataclass(frozen=True)
class Quantity:
    """One kind of uncertainty, measured for every element.

    Choices in nodes, columns of the ledger and of batches, entries of files, labels in views, axes of plots and rows of tables
    all derive from it.

    Attributes:
        name: name in files, columns and choices. Saved workflows contain it, so it never changes after a release.
        label: name in views.
        meaning: what it measures and what a high value means, for the user.
        high_is_sure: whether a high value means that the model is sure.
        color: color of its curve in plots, ``#rrggbb``.
    """

    name: str
    label: str
    meaning: str
    high_is_sure: bool
    color: str


@dataclass(frozen=True)
class ProbedQuantity(Quantity):
    """A quantity that is estimated at each recorded step from the M probes of a model call.

    Attributes:
        plain: computes the plain sample estimate, (B, C, *spatial).
        terms: computes each probe's term of the low-noise estimate, (M, B, C, *spatial). Their sum is divided by
            ``degrees(probes)``.
        known: constant added to the low-noise estimate: the part of its limit that is known exactly.
        centred: whether the terms are products of deviations from the mean over the probes, as in a variance, and not values
            whose mean is taken.
        smoothed: whether smoothing along the image brings a map of few probes closer to its limit (docs/method.md).
    """

    plain: Callable[[Probes], Tensor]
    terms: Callable[[Probes], Tensor]
    known: float = 0.0
    centred: bool = True
    smoothed: bool = True

    def degrees(self, probes: Probes) -> int:
        """The divisor of the sum of the terms: deviations from a mean cost a degree of freedom."""
        return probes.degrees if self.centred else len(probes.noise)
