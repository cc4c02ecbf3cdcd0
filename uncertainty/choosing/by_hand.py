"""Verdicts by hand: a person keeps or rejects single images, whatever the rule says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..storage.foreign import fields

NAME = "by_hand"
EXAMPLE = '{"keep": [0, 3], "reject": [5]}'


@dataclass(frozen=True)
class Verdicts:
    """The verdicts by hand on the images of one batch.

    Attributes:
        keep: indices of the images to keep.
        reject: indices of the images to reject.
        elsewhere: number of verdicts on images that are not in the batch.
    """

    keep: frozenset[int] = frozenset()
    reject: frozenset[int] = frozenset()
    elsewhere: int = 0

    @property
    def decided(self) -> frozenset[int]:
        """Indices of the images that have a verdict."""
        return self.keep | self.reject


UNDECIDED = Verdicts()


@dataclass(frozen=True)
class ByHand:
    """Verdicts by hand as they are saved with a workflow.

    An image is named by its digest, see ``fingerprints.image_digests``, so that no other image inherits the verdict; or by its
    index, from 0, which holds in every batch.
    """

    keep: tuple[str | int, ...] = ()
    reject: tuple[str | int, ...] = ()

    @classmethod
    def parse(cls, text: Any) -> "ByHand":
        """Read ``EXAMPLE`` or the like; an empty text has no verdicts.

        Raises:
            ValueError: the text is something else; the message says what to write.
        """
        if not isinstance(text, str):
            raise ValueError(_wrong(f"it is a {type(text).__name__}"))
        if not text.strip():
            return cls()
        try:
            found = fields(text)
        except ValueError as error:
            raise ValueError(_wrong(str(error))) from error
        if unknown := sorted(set(found) - {"keep", "reject"}):
            raise ValueError(_wrong(f"{unknown[0]!r} is neither keep nor reject"))
        return cls(**{verdict: tuple(_images(verdict, value)) for verdict, value in found.items()})

    def on(self, digests: Sequence[str]) -> Verdicts:
        """The verdicts on the images of a batch, given their digests.

        Raises:
            ValueError: an index is not in the batch, or an image is both kept and rejected.
        """
        places = {digest: index for index, digest in enumerate(digests)}
        found = {verdict: _indices(verdict, getattr(self, verdict), places) for verdict in ("keep", "reject")}
        if both := sorted(found["keep"] & found["reject"]):
            raise ValueError(f"{NAME} both keeps and rejects image {both[0]}: leave one of them out.")
        named = {*self.keep, *self.reject}
        return Verdicts(**found, elsewhere=sum(isinstance(name, str) and name not in places for name in named))


def _images(verdict: str, value: Any) -> list[str | int]:
    if not isinstance(value, list):
        raise ValueError(_wrong(f"{verdict} is {value!r}, not a list"))
    for image in value:
        if not isinstance(image, str) and (type(image) is not int or image < 0):
            raise ValueError(_wrong(f"{verdict} contains {image!r}, which is neither an index from 0 nor a digest of an image"))
    return value


def _indices(verdict: str, named: Sequence[str | int], places: dict[str, int]) -> frozenset[int]:
    numbers = {name for name in named if isinstance(name, int)}
    if beyond := sorted(number for number in numbers if number >= len(places)):
        raise ValueError(
            f"{NAME}: {verdict} names image {beyond[0]}, but this batch has {len(places)}, counted from 0: correct the index, or "
            f"clear {NAME}."
        )
    return frozenset(numbers | {places[name] for name in named if isinstance(name, str) and name in places})


def _wrong(reason: str) -> str:
    return f"{NAME} must be empty or JSON such as {EXAMPLE}, but {reason}."
