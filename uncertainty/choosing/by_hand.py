"""Verdicts by hand: a person keeps or rejects single images, whatever the rule says, and gives them stars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..storage.foreign import fields
from ..storage.rating import MOST_STARS

NAME = "by_hand"
VERDICTS = ("keep", "reject")
STARS = "stars"
EXAMPLE = '{"keep": [0, 3], "reject": [5]}'


@dataclass(frozen=True)
class Verdicts:
    """The verdicts by hand on the images of one batch.

    Attributes:
        keep: indices of the images to keep.
        reject: indices of the images to reject.
        elsewhere: number of verdicts on images that are not in the batch.
        stars: 0 to ``MOST_STARS`` by index, of the images that were given some, or from whom they were taken.
    """

    keep: frozenset[int] = frozenset()
    reject: frozenset[int] = frozenset()
    elsewhere: int = 0
    stars: Mapping[int, int] = field(default_factory=dict)

    @property
    def decided(self) -> frozenset[int]:
        """Indices of the images that have a verdict."""
        return self.keep | self.reject


UNDECIDED = Verdicts()


@dataclass(frozen=True)
class ByHand:
    """Verdicts by hand as they are saved with a workflow.

    An image is named by its digest, see ``fingerprints.image_digests``, so that no other image inherits the verdict; or by its
    index, from 0, which holds in every batch. ``stars`` names images by their number of stars.
    """

    keep: tuple[str | int, ...] = ()
    reject: tuple[str | int, ...] = ()
    stars: Mapping[int, tuple[str | int, ...]] = field(default_factory=dict)

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
        if unknown := sorted(set(found) - {*VERDICTS, STARS}):
            raise ValueError(_wrong(f"{unknown[0]!r} is neither keep nor reject nor stars"))
        stars = _stars(found.pop(STARS, {}))
        return cls(**{verdict: tuple(_images(verdict, value)) for verdict, value in found.items()}, stars=stars)

    def on(self, digests: Sequence[str]) -> Verdicts:
        """The verdicts on the images of a batch, given their digests.

        Raises:
            ValueError: an index is not in the batch, or an image is both kept and rejected, or has two numbers of stars.
        """
        places = {digest: index for index, digest in enumerate(digests)}
        found = {verdict: _indices(verdict, getattr(self, verdict), places) for verdict in VERDICTS}
        if both := sorted(found["keep"] & found["reject"]):
            raise ValueError(f"{NAME} both keeps and rejects image {both[0]}: leave one of them out.")
        named = {*self.keep, *self.reject}
        elsewhere = sum(isinstance(name, str) and name not in places for name in named)
        return Verdicts(**found, elsewhere=elsewhere, stars=self._stars_on(places))

    def _stars_on(self, places: dict[str, int]) -> dict[int, int]:
        found: dict[int, int] = {}
        for count, images in self.stars.items():
            for index in sorted(_indices(f"{STARS} {count}", images, places)):
                if found.setdefault(index, count) != count:
                    raise ValueError(f"{NAME} gives image {index} both {found[index]} and {count} stars: leave one of them out.")
        return found


def _images(verdict: str, value: Any) -> list[str | int]:
    if not isinstance(value, list):
        raise ValueError(_wrong(f"{verdict} is {value!r}, not a list"))
    for image in value:
        if not isinstance(image, str) and (type(image) is not int or image < 0):
            raise ValueError(_wrong(f"{verdict} contains {image!r}, which is neither an index from 0 nor a digest of an image"))
    return value


def _stars(found: Any) -> dict[int, tuple[str | int, ...]]:
    if not isinstance(found, dict):
        raise ValueError(_wrong(f'stars is {found!r}, not an object such as {{"5": [0]}}'))
    counts = {str(count): count for count in range(MOST_STARS + 1)}
    if unknown := [name for name in found if name not in counts]:
        raise ValueError(_wrong(f"stars has the key {unknown[0]!r}, where only 0 to {MOST_STARS} are possible"))
    return {counts[name]: tuple(_images(f"{STARS} {name}", images)) for name, images in found.items()}


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
