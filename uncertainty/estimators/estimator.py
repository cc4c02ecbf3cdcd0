"""What an estimator declares of itself."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..probes import Probes

Maps = dict[str, Tensor]
"""By quantity."""


@dataclass(frozen=True)
class Estimator:
    """One way to estimate the quantities from the probes of a model call.

    Attributes:
        name: what choices and files call it. Saved workflows hold it: it never changes after a release.
        summary: a few words for the user.
        maps: the quantities, each (B, C, *spatial), from probes and the mask (B, 1, *spatial) inside which means count.
        standard_errors: of the mean of each quantity over elements (inside the mask), (B,).
        orthogonal: whether it takes orthogonal probes; the paper's are independent.
        averages_gradient: whether guidance averages its gradient over the steps of a run.
    """

    name: str
    summary: str
    maps: Callable[[Probes, Tensor | None], Maps]
    standard_errors: Callable[[Probes, Tensor | None], Maps]
    orthogonal: bool = False
    averages_gradient: bool = False
