"""Where images stand among many: the one place that works out "better than x %"."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Standing:
    """Where images stand among many: how many of those score lower and higher, (B,), and how many there are, these included."""

    lower: Tensor
    higher: Tensor
    count: int

    @property
    def others(self) -> int:
        """How many there are beside the image itself."""
        return max(0, self.count - 1)

    def better(self, reject: str) -> Tensor:
        """How many are better than each image, (B,), where ``reject`` (``highest`` or ``lowest``) is the bad end."""
        return self.lower if reject == "highest" else self.higher

    def worse(self, reject: str) -> Tensor:
        """How many are worse than each image, (B,)."""
        return self.higher if reject == "highest" else self.lower


def stand(scores: Tensor, among: Tensor) -> Standing:
    """Where scores (B,) stand among others (N,), which are sorted, valid, and hold the valid ones of these images too."""
    ordered, wanted = among.double(), scores.double()
    lower = torch.searchsorted(ordered, wanted)
    return Standing(lower, len(ordered) - torch.searchsorted(ordered, wanted, right=True), len(ordered))


def better_than(beaten: int, others: int) -> str:
    """In words: better than so many of so many others, in whole per cent."""
    return f"better than {100 * beaten // others} % of {others}"
