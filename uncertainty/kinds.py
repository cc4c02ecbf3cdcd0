"""Kinds of plain values that come from files and requests: what a value must be, in words, and whether it is that."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# The range of float32, in which all scores and settings are computed.
LARGEST = 3.4028234663852886e38
LONGEST_TEXT = 1000
MOST_ENTRIES = 100_000
LONGEST_SHOWN = 100


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        words: what a value must be, as in "cfg must be a finite number".
        fits: whether a value is of this kind.
    """

    words: str
    fits: Callable[[Any], bool]

    def check(self, name: str, value: Any) -> Any:
        """The value.

        Raises:
            ValueError: it is not of this kind; the message names it.
        """
        if not self.fits(value):
            raise ValueError(f"{name} must be {self.words}, got {shown(value)}")
        return value


def shown(value: Any) -> str:
    """A value in an error message, shortened."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} …"


def whole(low: int, high: int) -> Kind:
    """Integers from low to high. True and False are none."""
    return Kind(
        f"a whole number from {low} to {high}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
    )


def listed(kind: Kind, most: int = MOST_ENTRIES, least: int = 0) -> Kind:
    """Lists of values of one kind."""
    return Kind(
        f"a list of {least} to {most} entries, each {kind.words}",
        lambda value: isinstance(value, list | tuple) and least <= len(value) <= most and all(map(kind.fits, value)),
    )


def named(kind: Kind) -> Kind:
    """Objects whose values are of one kind, by name."""
    return Kind(
        f"an object of at most {MOST_ENTRIES} entries, each {kind.words}",
        lambda value: isinstance(value, dict) and len(value) <= MOST_ENTRIES and all(map(kind.fits, value.values())),
    )


def optional(kind: Kind) -> Kind:
    """Values of a kind, or None."""
    return Kind(f"{kind.words}, or null", lambda value: value is None or kind.fits(value))


def either(one: Kind, other: Kind) -> Kind:
    """Values of one kind or the other."""
    return Kind(f"{one.words}, or {other.words}", lambda value: one.fits(value) or other.fits(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


ANYTHING = Kind("anything", lambda value: True)
NUMBER = Kind("a finite number", _is_number)
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
COUNT = whole(0, 1 << 53)
# ComfyUI's own are not negative, but torch takes negative ones too.
SEED = whole(-(1 << 63), (1 << 64) - 1)
TEXT = Kind(
    f"a printable text of at most {LONGEST_TEXT} characters",
    lambda value: isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable(),
)
SIMPLE = Kind("a text, a number, true, false or null", lambda value: value is None or isinstance(value, str | int | float))
