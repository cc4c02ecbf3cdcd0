"""The rank of images among others, from which all texts like "3rd of 60" derive, and what a batch is compared with."""

from dataclasses import dataclass

import torch
from torch import Tensor

# A rank among fewer other images says little: a batch is then compared within itself.
FEWEST = 20


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


@dataclass(frozen=True)
class Comparison:
    """What the images of a batch are compared with, and how they rank there.

    Attributes:
        standing: their rank.
        words: what they are compared with, as in "compared with 59 other images of the same prompt and settings".
    """

    standing: Standing
    words: str


def stand(scores: Tensor, among: Tensor) -> Standing:
    """The standing of scores (B,) in ``among`` (N,), which must be sorted and finite and include the finite ``scores``."""
    ordered, wanted = among.double(), scores.double()
    lower = torch.searchsorted(ordered, wanted)
    return Standing(lower, len(ordered) - torch.searchsorted(ordered, wanted, right=True), len(ordered))


def within(scores: Tensor) -> Standing:
    """The standing of scores (B,) among themselves; those that are not finite are not counted."""
    return stand(scores, scores[scores.isfinite()].sort().values)


def compare(scores: Tensor, recorded: Standing, *, across_prompts: bool, having: str = "") -> Comparison:
    """Compare a batch with recorded images, or within itself if there are fewer than ``FEWEST`` others.

    Args:
        scores: scores of the images, (B,).
        recorded: their standing among all recorded images, these included.
        across_prompts: whether the recorded images are of all prompts, instead of the same one.
        having: what else the recorded images have in common, as in " that have a pickscore".
    """
    kind = "with the same settings and any prompt" if across_prompts else "of the same prompt and settings"
    others = f"{recorded.others} other {'image' if recorded.others == 1 else 'images'} {kind}{having}"
    if recorded.others < FEWEST:
        return Comparison(within(scores), f"compared within this batch: the ledger has {others}, fewer than {FEWEST}")
    mixed = ": ranks mix easy and difficult prompts" if across_prompts else ""
    return Comparison(recorded, f"compared with {others}{mixed}")


def place(better: int, count: int) -> str:
    """The text "3rd of 60", for an image with so many better ones among ``count`` images."""
    number = better + 1
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending} of {count}"
