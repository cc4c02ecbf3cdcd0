"""The declaration of a quantity."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..probes import Probes


@dataclass(frozen=True)
class Quantity:
    """One kind of uncertainty, estimated for every element from the M probes of a model call.

    Choices in nodes, columns of the ledger and of batches, entries of files, labels in views, axes of plots and rows of tables
    all derive from it.

    Attributes:
        name: name in files, columns and choices. Saved workflows contain it, so it never changes after a release.
        label: name in views.
        meaning: what it measures and what a high value means, for the user.
        high_is_sure: whether a high value means that the model is sure.
        color: color of its curve in plots, ``#rrggbb``.
        plain: computes the plain sample estimate, (B, C, *spatial).
        terms: computes each probe's term of the low-noise estimate, (M, B, C, *spatial). Their sum is divided by
            ``probes.degrees``.
        known: constant added to the low-noise estimate: the part of its limit that is known exactly.
    """

    name: str
    label: str
    meaning: str
    high_is_sure: bool
    color: str
    plain: Callable[[Probes], Tensor]
    terms: Callable[[Probes], Tensor]
    known: float = 0.0
