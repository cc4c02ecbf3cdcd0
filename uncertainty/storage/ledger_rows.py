"""Rows of the ledger's images, made of records and read back."""

import math
import sqlite3
from collections.abc import Mapping
from typing import Any

from ..kinds import COUNT, NUMBER
from ..quantities import QUANTITIES
from ..settings import possible
from . import foreign
from .ledger_query import signed
from .rating import MOST_STARS
from .records import STATES, ImageRecord

# Fields of a record that have a column of the same name.
COLUMNS = (
    *("digest", "fingerprint", "created", "seed", "prompt_digest", "place"),
    *("file", "size", "modified", "state", "stars"),
)
# Longest text of a prompt that is kept; the rest of a longer one is left out.
LONGEST_PROMPT = 10_000


def kept_text(prompt: str | None) -> str | None:
    """The text as it is stored; what is no text, such as half a surrogate pair, must not cost the row."""
    return prompt[:LONGEST_PROMPT].encode(errors="replace").decode() if prompt else None


def values_of(image: ImageRecord, moment: float, output: int) -> dict[str, Any]:
    """The columns of a new row; a score that is absent or not finite is NULL."""
    values: dict[str, Any] = {name: getattr(image, name) for name in COLUMNS}
    values |= {"created": moment, "seed": signed(image.seed), "output": output}
    values["state"] = None if image.file is None else STATES.index(image.state)
    for name in QUANTITIES:
        values |= {name: image.score(name), f"{name}_error": image.standard_error(name)}
    return values


def settings_of(stored: str) -> dict[str, Any]:
    """Settings as far as they can be read: earlier versions recorded maps of other programs without checking them."""
    try:
        return possible(foreign.fields(stored))
    except ValueError:
        return {}


def image_of(row: sqlite3.Row, models: Mapping[str, str]) -> ImageRecord:
    """The image of a row. SQLite stores values of any type in any column: those of another type than the column's are absent."""
    scores = {name: (_number(row[name]), _number(row[f"{name}_error"])) for name in QUANTITIES}
    about: dict[str, Any] = {name: row[name] for name in ("id", *COLUMNS)}
    about |= {"seed": _unsigned(row["seed"]), "state": STATES[row["state"]] if row["state"] in range(len(STATES)) else STATES[0]}
    about |= {"stars": row["stars"] if row["stars"] in range(MOST_STARS + 1) else 0}
    about["prompt"] = row["prompt"]
    about |= {name: about[name] if isinstance(about[name], str) else None for name in ("prompt", "prompt_digest", "file")}
    about |= {"place": about["place"] if COUNT.fits(about["place"]) else 0}
    about |= {"created": about["created"] if NUMBER.fits(about["created"]) else None}
    return ImageRecord(**about, scores=scores, model=models.get(row["fingerprint"], ""))


def models_by_fingerprint(connection: sqlite3.Connection) -> dict[str, str]:
    """Model by fingerprint."""
    return {row["fingerprint"]: row["model"] for row in connection.execute("SELECT fingerprint, model FROM settings")}


def _number(stored: object) -> float:
    return stored if isinstance(stored, float) else math.nan


def _unsigned(stored: object) -> int | None:
    return stored % (1 << 64) if isinstance(stored, int) else None
