"""The sorted scores of a ledger, kept in memory: sorting a million of them for every page of the sidebar would take too long."""

import sqlite3
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Number of groups that are kept, enough for all prompts of several pages. A million scores take 8 MB.
MOST = 4096


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
    """Sorted scores by fingerprint, prompt and quantity. Rows are only ever added, so only new ones are read. Thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str | None, str], Known] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, connection: sqlite3.Connection, name: str, prompt: str | None, quantity: str) -> Tensor:
        """All valid scores of a fingerprint and a prompt (None: of all prompts), one per image, lowest first, (N,) float64."""
        group = (name, prompt, quantity)
        with self._lock:
            before = self._known.pop(group, None)
            if before is not None and _digest(connection, before.last) != before.digest:
                before = None
            last = connection.execute("SELECT coalesce(max(id), 0) FROM images").fetchone()[0]
            if before is None:
                before = Known(0, "", np.empty(0))
            scores = before.scores
            if last > before.last:
                new = np.sort(_read(connection, name, prompt, quantity, before.last))
                scores = np.insert(scores, np.searchsorted(scores, new), new) if len(scores) else new
            self._known[group] = Known(last, _digest(connection, last), scores)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return torch.from_numpy(scores)


def _digest(connection: sqlite3.Connection, number: int) -> str:
    row = connection.execute("SELECT digest FROM images WHERE id = ?", (number,)).fetchone()
    return "" if row is None else str(row[0])


def _read(connection: sqlite3.Connection, name: str, prompt: str | None, quantity: str, after: int) -> np.ndarray:
    values: tuple[str | int, ...]
    if prompt is not None:
        where, values = "prompt_digest = ? AND fingerprint = ? AND id > ?", (prompt, name, after)
    elif after == 0:
        # The index by fingerprint has them sorted.
        where, values = f"fingerprint = ? AND id > ? ORDER BY {quantity}", (name, after)
    else:
        # For the newest few, the plus sign keeps SQLite from that index.
        where, values = "+fingerprint = ? AND id > ?", (name, after)
    select = f"SELECT {quantity} FROM images WHERE {quantity} IS NOT NULL AND copy = 0 AND {where}"  # nosec B608
    rows = connection.execute(select, values)
    return np.fromiter((row[0] for row in rows if isinstance(row[0], float)), np.float64)
