"""Python's own numbers for those of NumPy and torch, so that what is stored with a map can be written as JSON."""

from collections.abc import Mapping
from typing import Any

from .kinds import LARGEST


def plain(value: Any) -> Any:
    """A number of NumPy, or a tensor or array with one element, as a number of Python; any other value unchanged."""
    if getattr(value, "size", None) == 1 or (hasattr(value, "numel") and value.numel() == 1):
        return value.item()
    return value


def whole(name: str, value: Any) -> int:
    """A whole number, which may come as ``3``, ``3.0`` or a number of another library.

    Raises:
        ValueError: it is none; the message names the setting.
    """
    number = plain(value)
    if isinstance(number, int) or (isinstance(number, float) and number.is_integer()):
        return int(number)
    raise ValueError(f"{name} must be a whole number, got {value!r}.")


def real(name: str, value: Any) -> float:
    """A number, which may come from another library.

    Raises:
        ValueError: it is none; the message names the setting.
    """
    number = plain(value)
    if isinstance(number, int | float):
        return float(number)
    raise ValueError(f"{name} must be a number, got {value!r}.")


def canonical(value: Any, *, fraction: bool) -> Any:
    """The value with each number in one form: with a point if it may be a fraction, otherwise without where it is whole."""
    if isinstance(value, Mapping):
        return {name: canonical(part, fraction=fraction) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(part, fraction=fraction) for part in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if fraction:
        return float(value) if abs(value) <= LARGEST else value
    return int(value) if isinstance(value, float) and value.is_integer() else value
