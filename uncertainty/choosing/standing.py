"""The rank of images among many others, from which all "better than x %" texts derive."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Standing:
    """The rank of images among ``count`` images that include them: how many score lower and how many higher, both (B,)."""

    lower: Tensor
    higher: Tensor
    count: int

    @property
    def others(self) -> int:
        """Number of images besides the image itself."""
        return max(0, self.count - 1)

    def better(self, reject: str) -> Tensor:
        """Number of better images for each image, (B,); ``reject`` is the bad end, ``highest`` or ``lowest``."""
        return self.lower if reject == "highest" else self.higher

    def worse(self, reject: str) -> Tensor:
        """Number of worse images for each image, (B,)."""
        return self.higher if reject == "highest" else self.lower


def stand(scores: Tensor, among: Tensor) -> Standing:
    """The standing of scores (B,) in ``among`` (N,), which must be sorted and finite and include the finite ``scores``."""
    ordered, wanted = among.double(), scores.double()
    lower = torch.searchsorted(ordered, wanted)
    return Standing(lower, len(ordered) - torch.searchsorted(ordered, wanted, right=True), len(ordered))


def better_than(beaten: int, others: int) -> str:
    """The text "better than x % of n", with x rounded down to an integer."""
    return f"better than {100 * beaten // others} % of {others}"
