"""A query for saved images of the ledger: filters and order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..choices import check_choice
from ..kinds import NUMBER, listed, shown, whole
from ..quantities import DEFAULT_QUANTITY, QUANTITIES
from . import foreign

SORTS = ("date", "score")
ORDERS = ("asc", "desc")
STATES = ("kept", "rejected", "all")
LONGEST_CURSOR = 200
ROW = whole(0, (1 << 63) - 1)
"""Ids of rows, which SQLite limits to 63 bits."""


@dataclass(frozen=True)
class Query:
    """Filters and order of a query.

    Attributes:
        sort: by ``date`` or by ``score``. Images without a valid score are left out if the query sorts or filters by score.
        order: ``asc`` or ``desc``.
        quantity: quantity of the score.
        fingerprint: only images with these settings.
        prompt: only images of the prompt with this digest.
        model: only images of this model.
        since: only images recorded at or after this time, in seconds since 1970.
        until: only images recorded before this time.
        score_min: only images with at least this score.
        score_max: only images with at most this score.
        state: ``kept``, ``rejected`` or ``all``.
    """

    sort: str = "date"
    order: str = "desc"
    quantity: str = DEFAULT_QUANTITY
    fingerprint: str | None = None
    prompt: str | None = None
    model: str | None = None
    since: float | None = None
    until: float | None = None
    score_min: float | None = None
    score_max: float | None = None
    state: str = "all"

    def __post_init__(self) -> None:
        """Check every choice; raise ValueError naming the field."""
        check_choice("sort", self.sort, SORTS)
        check_choice("order", self.order, ORDERS)
        check_choice("quantity", self.quantity, QUANTITIES)
        check_choice("state", self.state, STATES)

    @property
    def column(self) -> str:
        """The column to sort by."""
        return "created" if self.sort == "date" else self.quantity

    @property
    def table(self) -> str:
        """The table to read, through the index by prompt if one is asked for: SQLite would prefer an order to a small group."""
        return "images" if self.prompt is None else "images INDEXED BY by_prompt"

    def conditions(self) -> tuple[str, list[Any]]:
        """The WHERE clause that selects the saved images, and its values."""
        parts: list[tuple[str, Any]] = []
        if self.fingerprint is not None:
            parts.append(("fingerprint = ?", self.fingerprint))
        if self.prompt is not None:
            parts.append(("prompt_digest = ?", self.prompt))
        if self.model is not None:
            # The plus sign keeps SQLite from using the index by fingerprint, which would require another sort.
            parts.append(("+fingerprint IN (SELECT fingerprint FROM settings WHERE model = ?)", self.model))
        limits: Mapping[str, float | None] = {
            "created >= ?": self.since,
            "created < ?": self.until,
            f"{self.quantity} >= ?": self.score_min,
            f"{self.quantity} <= ?": self.score_max,
        }
        parts += [(text, value) for text, value in limits.items() if value is not None]
        fixed = ["rejected IS NOT NULL"] if self.state == "all" else [f"rejected = {int(self.state == 'rejected')}"]
        if self.sort == "score":
            fixed.append(f"{self.quantity} IS NOT NULL")
        return " AND ".join([*fixed, *(text for text, _ in parts)]), [value for _, value in parts]

    def after(self, cursor: str) -> tuple[str, list[float]]:
        """The condition for rows after a cursor, and its values.

        Raises:
            ValueError: ``cursor`` is not a cursor.
        """
        try:
            position, number = listed(NUMBER, most=2, least=2).check("after", foreign.parsed(cursor, LONGEST_CURSOR))
            values = [position, ROW.check("after", number)]
        except ValueError as error:
            raise ValueError(f"after must be the cursor of a next page, got {shown(cursor)}.") from error
        return f"({self.column}, id) {'>' if self.order == 'asc' else '<'} (?, ?)", values
