"""Scores of the same images by other programs, such as PickScore, an aesthetic score or the likeness of a face."""

import itertools
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .kinds import LARGEST, MOST_ENTRIES, shown
from .scores import SCORES

LONGEST_NAME = 60


@dataclass(frozen=True, eq=False)
class ExtraScore:
    """A number for each image.

    Attributes:
        values: finite numbers, (B,) float64.
        higher_is_better: which end is good.
    """

    values: Tensor
    higher_is_better: bool

    @property
    def badness(self) -> Tensor:
        """The values with the sign that makes high bad, (B,)."""
        return -self.values if self.higher_is_better else self.values


def numbers(name: str, given: Any) -> Tensor:
    """All numbers of lists, tensors and arrays, also of several levels, in order: (N,) float64.

    Args:
        name: name of the score, for messages.
        given: the numbers.

    Raises:
        ValueError: a value is not a finite number, or there is none.
    """
    found = list(itertools.islice(_flat(given), MOST_ENTRIES + 1))
    if len(found) > MOST_ENTRIES:
        raise ValueError(f"scores of {name} are more than {MOST_ENTRIES} numbers: connect a list of numbers, one for each image.")
    for index, value in enumerate(found):
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or abs(value) > LARGEST:
            raise ValueError(
                f"scores must be finite numbers, but number {index} of {name} is {shown(value)}: connect a list of numbers, one "
                "for each image."
            )
    if not found:
        raise ValueError(f"scores of {name} are empty: connect a list of numbers, one for each image.")
    return torch.tensor(found, dtype=torch.float64)


def _flat(given: Any) -> Iterator[Any]:
    if hasattr(given, "flatten"):  # a tensor or an array, perhaps of images
        given = given.flatten()[: MOST_ENTRIES + 1].tolist()
    if isinstance(given, list | tuple):
        for each in given:
            yield from _flat(each)
    else:
        yield given


def check_name(name: Any, taken: Collection[str] = ()) -> None:
    """Check the name of an extra score.

    Args:
        name: the name.
        taken: names of the extra scores that the images have already.

    Raises:
        ValueError: it is no printable text, is too long, or is the name of another score.
    """
    if not (isinstance(name, str) and name.strip() == name and 0 < len(name) <= LONGEST_NAME and name.isprintable()):
        raise ValueError(
            f"name must be a text of 1 to {LONGEST_NAME} characters without spaces at its ends, got {shown(name)}: name the "
            "score, such as pickscore."
        )
    if name in SCORES:
        raise ValueError(f"name {name} belongs to a score of this pack: choose another name.")
    if name in taken:
        raise ValueError(f"name {name} belongs to another extra score of these images: choose another name.")
