"""What a quantity declares of itself."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..probes import Probes


@dataclass(frozen=True)
class Quantity:
    """One kind of uncertainty that the M probes of a model call tell of every element.

    Choices in nodes, columns of the ledger and of batches, entries of files, labels in views, axes of plots and rows of tables
    all derive from it.

    Attributes:
        name: what files, columns and choices call it. Saved workflows hold it: it never changes after a release.
        label: what views call it.
        meaning: one sentence for the user that ends with what a high value means.
        high_is_sure: whether a high value means that the model is sure.
        color: of its curve in plots, ``#rrggbb``.
        plain: its plain sample estimate, (B, C, *spatial).
        terms: what each probe adds to its low-noise estimate, (M, B, C, *spatial). Their sum is divided by ``probes.degrees``.
        known: the part of its limit that is known exactly; the low-noise estimate adds it.
    """

    name: str
    label: str
    meaning: str
    high_is_sure: bool
    color: str
    plain: Callable[[Probes], Tensor]
    terms: Callable[[Probes], Tensor]
    known: float = 0.0
