"""Reads what somebody else may have written: JSON of bounded size and depth, fields of known kinds, and regular files only.

Headers of files, entries of pictures, bodies and cursors of requests all pass through here. Python's ``json`` calls itself once
for each level of nesting, which ends in an error at best and in a crash where another pack raised the limit. It also accepts NaN,
makes infinities of large numbers, and passes on halves of surrogate pairs, all of which fail later, far from the file.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..kinds import Kind

MOST_CHARACTERS = 32_000_000
MOST_VALUES = 200_000
DEEPEST = 32
# Enough for 64 bits and a sign.
MOST_DIGITS = 20

_STRING, _BRACKET = re.compile(r'"[^"]*"?'), re.compile(r"[\[{\]}]")


def parsed(text: str | bytes, most: int = MOST_CHARACTERS, values: int = MOST_VALUES) -> Any:
    """The value of a JSON text.

    Args:
        text: the text; bytes are UTF-8.
        most: largest length that is read.
        values: largest number of values in it.

    Raises:
        ValueError: it is not JSON, longer, has too many values or levels, or has numbers or texts that cannot be stored.
    """
    if len(text) > most:
        raise ValueError(f"its JSON is {len(text)} characters long, more than {most}")
    if isinstance(text, bytes):
        text = text.decode()
    _check_extent(text, values)
    value = json.loads(text, parse_int=_integer, parse_float=_finite, parse_constant=_finite)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("its JSON has half a surrogate pair, which is no text") from error
    return value


def fields(text: str | bytes, most: int = MOST_CHARACTERS, values: int = MOST_VALUES) -> dict[str, Any]:
    """The fields of a JSON object. Raises as ``parsed``, and for other values than objects."""
    value = parsed(text, most, values)
    if not isinstance(value, dict):
        raise ValueError(f"its JSON must be an object, got a {type(value).__name__}")
    return value


def read_fields(path: Path, most: int) -> dict[str, Any]:
    """The fields of the JSON object in a file of at most ``most`` bytes. Raises as ``fields`` and ``check_file``."""
    check_file(path)
    with path.open("rb") as file:
        return fields(file.read(most + 1), most)


def field(fields: Mapping[str, Any], name: str, kind: Kind) -> Any:
    """A field of an object.

    Raises:
        ValueError: the field is missing or of another kind.
    """
    if name not in fields:
        raise ValueError(f"{name} is missing")
    return kind.check(name, fields[name])


def check_file(path: Path) -> None:
    """Raise FileNotFoundError unless there is a regular file: opening a pipe or a device may wait for ever."""
    if not path.is_file():
        raise FileNotFoundError(f"{path.name} does not exist, or is not a regular file.")


def _check_extent(text: str, values: int) -> None:
    """Check how many values a JSON text has and how deep they lie, without recursion and in little more memory than the text."""
    unescaped = text.replace("\\\\", "").replace('\\"', "")
    outside = _STRING.sub("", unescaped) if unescaped.count('"') <= 4 * values else "," * (values + 1)
    if sum(map(outside.count, ",[]{}")) > values:
        raise ValueError(f"its JSON has more than {values} values")
    depth = 0
    for bracket in _BRACKET.finditer(outside):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > DEEPEST:
            raise ValueError(f"its JSON is nested more than {DEEPEST} levels deep")


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"its JSON has a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"its JSON has a number that is not finite ({text[:MOST_DIGITS]})")
    return value
