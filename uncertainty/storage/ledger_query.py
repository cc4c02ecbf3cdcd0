"""Which saved images of the ledger are asked for, and in which order."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..choices import check_choice
from ..quantities import DEFAULT_QUANTITY, QUANTITIES

SORTS = ("date", "score")
ORDERS = ("asc", "desc")
STATES = ("kept", "rejected", "all")


@dataclass(frozen=True)
class Query:
    """Which images, and in which order.

    Attributes:
        sort: by ``date`` or by ``score``; images without a valid score are left out where the score counts.
        order: ``asc`` or ``desc``.
        quantity: whose score.
        fingerprint: only images of these settings.
        model: only images of this model.
        since: only images recorded at or after this time, in seconds since 1970.
        until: only images recorded before it.
        score_min: lowest score.
        score_max: highest score.
        state: ``kept``, ``rejected`` or ``all``.
    """

    sort: str = "date"
    order: str = "desc"
    quantity: str = DEFAULT_QUANTITY
    fingerprint: str | None = None
    model: str | None = None
    since: float | None = None
    until: float | None = None
    score_min: float | None = None
    score_max: float | None = None
    state: str = "all"

    def __post_init__(self) -> None:
        """Check every choice; raises ValueError naming the field."""
        check_choice("sort", self.sort, SORTS)
        check_choice("order", self.order, ORDERS)
        check_choice("quantity", self.quantity, QUANTITIES)
        check_choice("state", self.state, STATES)

    @property
    def column(self) -> str:
        """What the list is sorted by."""
        return "created" if self.sort == "date" else self.quantity

    def conditions(self) -> tuple[str, list[Any]]:
        """The part of a statement that picks the saved images, and its values."""
        parts: list[tuple[str, Any]] = []
        if self.fingerprint is not None:
            parts.append(("fingerprint = ?", self.fingerprint))
        if self.model is not None:
            # The plus sign keeps SQLite from taking the index by fingerprint, which would sort anew.
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
        """The condition that leaves out all up to a page's end, and its values.

        Raises:
            ValueError: it is no cursor.
        """
        try:
            position, number = json.loads(cursor)
            values = [float(position), int(number)]
        except (ValueError, TypeError) as error:
            raise ValueError(f"after must be a cursor that a page named as its next, got {cursor!r}.") from error
        return f"({self.column}, id) {'>' if self.order == 'asc' else '<'} (?, ?)", values
