"""The sorted scores of a ledger, kept in memory: sorting a million of them for every page of the sidebar would take too long."""

import sqlite3
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Number of pairs of settings and quantity that are kept; a million scores take 8 MB.
MOST = 16


@dataclass(frozen=True)
class Known:
    """Scores of the rows up to one row.

    Attributes:
        last: id of that row.
        digest: its digest, by which a new file under the same name is noticed.
        scores: sorted, lowest first, (N,) float64.
    """

    last: int
    digest: str
    scores: np.ndarray


class SortedScores:
    """Sorted scores by fingerprint and quantity. Rows are only ever added, so only new ones are read again. Thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Known] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, connection: sqlite3.Connection, name: str, quantity: str) -> Tensor:
        """All valid scores of a fingerprint, one per image, lowest first, (N,) float64."""
        with self._lock:
            before = self._known.pop((name, quantity), None)
            if before is not None and _digest(connection, before.last) != before.digest:
                before = None
            last = connection.execute("SELECT coalesce(max(id), 0) FROM images").fetchone()[0]
            if before is None:
                before = Known(0, "", np.empty(0))
            scores = before.scores
            if last > before.last:
                new = np.sort(_read(connection, name, quantity, before.last))
                scores = np.insert(scores, np.searchsorted(scores, new), new) if len(scores) else new
            self._known[name, quantity] = Known(last, _digest(connection, last), scores)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return torch.from_numpy(scores)


def _digest(connection: sqlite3.Connection, number: int) -> str:
    row = connection.execute("SELECT digest FROM images WHERE id = ?", (number,)).fetchone()
    return "" if row is None else str(row[0])


def _read(connection: sqlite3.Connection, name: str, quantity: str, after: int) -> np.ndarray:
    # If all rows are read, the index by fingerprint has them sorted; for the newest few, the plus sign keeps SQLite from it.
    where = "fingerprint = ?" if after == 0 else "+fingerprint = ? AND id > ?"
    values = (name,) if after == 0 else (name, after)
    order = f" ORDER BY {quantity}" if after == 0 else ""
    select = f"SELECT {quantity} FROM images WHERE {where} AND {quantity} IS NOT NULL AND copy = 0{order}"  # nosec B608
    rows = connection.execute(select, values)
    return np.fromiter((row[0] for row in rows if isinstance(row[0], float)), np.float64)
