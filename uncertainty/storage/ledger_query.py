"""A query for saved images of the ledger: filters, search and order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..choices import check_choice
from ..kinds import NUMBER, listed, shown, whole
from ..quantities import DEFAULT_QUANTITY, QUANTITIES
from ..scores import bad_end
from . import foreign
from .records import STATES

SORTS = ("date", "score", "prompt")
ORDERS = ("asc", "desc")
LISTED = "state >= 0"
"""The condition that an image is listed: it is saved, and was not taken off the list."""
ALL = "TRUE"
"""The condition without conditions."""
LONGEST_CURSOR = 200
LONGEST_SEARCH = 200
ROW = whole(0, (1 << 63) - 1)
"""Ids of rows, which SQLite limits to 63 bits."""


@dataclass(frozen=True)
class Query:
    """Filters and order of a query.

    Attributes:
        sort: by ``date``, by ``score``, or by ``prompt``: the prompts by first use, and the surest image of each first. Images
            without a valid score, or whose prompt is unknown, are left out if the query sorts or filters by it.
        order: ``asc`` or ``desc``.
        quantity: quantity of the score.
        fingerprint: only images with these settings.
        prompt_digest: only images of this prompt.
        model: only images of this model.
        since: only images recorded at or after this time, in seconds since 1970.
        until: only images recorded before this time.
        score_min: only images with at least this score.
        score_max: only images with at most this score.
        states: only images in one of these states.
        stars_min: only images with at least so many stars.
        search: only images for which each of these words is in the prompt or in the name of the model, or is the seed.
    """

    sort: str = "date"
    order: str = "desc"
    quantity: str = DEFAULT_QUANTITY
    fingerprint: str | None = None
    prompt_digest: str | None = None
    model: str | None = None
    since: float | None = None
    until: float | None = None
    score_min: float | None = None
    score_max: float | None = None
    states: tuple[str, ...] = STATES
    stars_min: int = 0
    search: str = ""

    def __post_init__(self) -> None:
        """Check every choice; raise ValueError naming the field."""
        check_choice("sort", self.sort, SORTS)
        check_choice("order", self.order, ORDERS)
        check_choice("quantity", self.quantity, QUANTITIES)
        for state in self.states:
            check_choice("state", state, STATES)
        if len(self.search) > LONGEST_SEARCH:
            raise ValueError(f"search must have at most {LONGEST_SEARCH} characters, got {len(self.search)}.")

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """The columns to sort by and their directions."""
        if self.sort == "prompt":
            surest_first = "asc" if bad_end(self.quantity) == "highest" else "desc"
            return ("prompts.number", self.order), (self.quantity, surest_first), ("id", surest_first)
        return ("created" if self.sort == "date" else self.quantity, self.order), ("id", self.order)

    @property
    def table(self) -> str:
        """The table to read, through the index by prompt if one is asked for: SQLite would prefer an order to a small group."""
        if self.sort == "prompt":  # the order of the join is fixed, so that it can stop at the end of a page
            return "prompts CROSS JOIN images INDEXED BY by_prompt ON images.prompt_digest = prompts.digest"
        return "images" if self.prompt_digest is None else "images INDEXED BY by_prompt"

    @property
    def of_state(self) -> str:
        """The WHERE clause that selects the listed images in one of the states."""
        return f"state IN ({', '.join(str(STATES.index(state)) for state in self.states)})"

    def conditions(self) -> tuple[str, list[Any]]:
        """The WHERE clause that selects by everything but the state, and its values."""
        parts: list[tuple[str, Any]] = []
        if self.fingerprint is not None:
            parts.append(("fingerprint = ?", self.fingerprint))
        if self.prompt_digest is not None:
            parts.append(("prompt_digest = ?", self.prompt_digest))
        if self.model is not None:
            # The plus sign keeps SQLite from using the index by fingerprint, which would require another sort.
            parts.append(("+fingerprint IN (SELECT fingerprint FROM settings WHERE model = ?)", self.model))
        limits: Mapping[str, float | None] = {
            "created >= ?": self.since,
            "created < ?": self.until,
            f"{self.quantity} >= ?": self.score_min,
            f"{self.quantity} <= ?": self.score_max,
            "stars >= ?": self.stars_min or None,
        }
        parts += [(text, value) for text, value in limits.items() if value is not None]
        fixed = [] if self.sort == "date" else [f"{self.quantity} IS NOT NULL"]
        texts, values = [text for text, _ in parts], [value for _, value in parts]
        for word in self.search.split():
            found, more = _contains(word)
            texts.append(found)
            values += more
        return " AND ".join([*fixed, *texts]) or ALL, values

    def after(self, cursor: str) -> tuple[str, list[float]]:
        """The condition for rows after a cursor, and its values.

        Raises:
            ValueError: ``cursor`` is not a cursor.
        """
        count = len(self.keys)
        try:
            *position, number = listed(NUMBER, most=count, least=count).check("after", foreign.parsed(cursor, LONGEST_CURSOR))
            values = [*position, ROW.check("after", number)]
        except ValueError as error:
            raise ValueError(f"after must be the cursor of a next page, got {shown(cursor)}.") from error
        beyond = {"asc": ">", "desc": "<"}
        *group, (column, direction), (last, _) = self.keys
        condition = f"({column}, {last}) {beyond[direction]} (?, ?)"
        if group:
            ((column, direction),) = group
            sign = beyond[direction]  # the first of the two conditions says where to start reading
            condition, values = f"{column} {sign}= ? AND ({column} {sign} ? OR {condition})", [values[0], *values]
        return condition, values


def _contains(word: str) -> tuple[str, list[Any]]:
    """The condition that an image has a word, and its values."""
    pattern = "%" + "".join(f"\\{letter}" if letter in "\\%_" else letter for letter in word) + "%"
    # The plus sign: to read all rows in order is faster than to collect those of most words from several indexes.
    places = [
        "prompt_digest IN (SELECT digest FROM prompts WHERE text LIKE ? ESCAPE '\\')",
        "+fingerprint IN (SELECT fingerprint FROM settings WHERE model LIKE ? ESCAPE '\\')",
    ]
    values: list[Any] = [pattern, pattern]
    if word.isdecimal() and int(word) < 1 << 64:
        places.append("seed = ?")
        values.append(signed(int(word)))
    return f"({' OR '.join(places)})", values


def signed(seed: int | None) -> int | None:
    """A seed as a signed integer: ComfyUI's seeds are unsigned 64-bit integers, SQLite's integers are signed."""
    return seed if seed is None or seed < 1 << 63 else seed - (1 << 64)
