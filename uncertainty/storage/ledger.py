"""What was measured over many runs: one SQLite file, a row an image, a transaction a run.

Images are told apart by a digest of their map and settings, so that one that is recorded again (a filter queued with another cut,
an image saved after it was judged) stays one row. Scores compare only under equal settings: a *fingerprint* names them.
"""

import json
import math
import sqlite3
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..choices import check_choice
from ..estimators import QUANTITIES
from ..maps import SURE_WHEN_HIGH, UncertaintyMap
from .fingerprints import described, fingerprint, image_digests

VERSION = 1
# Seconds to wait for another process that writes.
PATIENCE = 10.0
SORTS = ("date", "score")
ORDERS = ("asc", "desc")
STATES = ("kept", "rejected", "all")

_SCORES = ", ".join(f"{name} REAL, {name}_error REAL" for name in QUANTITIES)
_SORTED = ("created", *QUANTITIES)
_SCHEMA = [
    """CREATE TABLE settings (fingerprint TEXT PRIMARY KEY, model TEXT NOT NULL, settings TEXT NOT NULL) WITHOUT ROWID""",
    # ``rejected`` is NULL until the image is saved: then there is a file to reject.
    f"""CREATE TABLE images (
        id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, fingerprint TEXT NOT NULL REFERENCES settings, created REAL NOT NULL,
        seed INTEGER, place INTEGER NOT NULL, prompt TEXT, {_SCORES}, file TEXT, rejected INTEGER)""",
    # Each order of the list, with what it is narrowed by: counting and paging look at no row that is not shown.
    *(f"CREATE INDEX by_{name} ON images ({name}, id, rejected, fingerprint)" for name in _SORTED),
    *(f"CREATE INDEX by_fingerprint_and_{name} ON images (fingerprint, {name}, id, rejected)" for name in _SORTED),
    "CREATE INDEX by_file ON images (file)",
]


class LedgerError(Exception):
    """The ledger cannot be read or written; the message says why and what to do."""


@dataclass(frozen=True)
class Entry:
    """One image of the ledger. ``file`` is relative to the output folder, with forward slashes; None if it was not saved."""

    id: int
    fingerprint: str
    created: float
    seed: int | None
    place: int
    prompt: str | None
    score: float | None
    standard_error: float | None
    model: str
    file: str | None
    rejected: bool


@dataclass(frozen=True)
class Image:
    """What is recorded of an image: its digest, the settings it compares under (fingerprint, model, JSON), and its scores.

    ``file`` is relative to the output folder; None if it was not saved. A score is a value and its standard error, NaN where
    there is no valid one.
    """

    digest: str
    fingerprint: str
    model: str
    settings: str
    seed: int | None
    prompt: str | None
    place: int
    scores: Mapping[str, tuple[float, float]]
    file: str | None = None
    rejected: bool = False


@dataclass(frozen=True)
class Query:
    """Which saved images are asked for, and in which order.

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
    quantity: str = "denoised_variance"
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


@dataclass(frozen=True)
class Page:
    """Part of an answer: its entries, how many match in all, and the cursor of the next page, None at the end."""

    entries: list[Entry]
    total: int
    next: str | None


class Ledger:
    """The ledger in a file, which is made when it is first used. Every method opens it anew: any thread may call any of them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection in which everything is one transaction.

        Raises:
            LedgerError: it cannot be used.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            connection.row_factory = sqlite3.Row
            # Survives a killed process; a power cut may cost the last runs, never the file.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            self._prepare(connection)
            with connection:
                yield connection
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        finally:
            connection.close()

    def _unusable(self, error: Exception) -> LedgerError:
        return LedgerError(f"the ledger {self.path.name} cannot be used ({error}): check its folder and the disk.")

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise LedgerError(f"the ledger {self.path.name} was written by a newer version of this pack: update the pack.")
        if version == VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            # Another process may have made it in the meantime.
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")

    def record(self, found: UncertaintyMap, files: Sequence[str] | None = None, now: float | None = None) -> str:
        """Record the images of a map in one transaction; answers with their fingerprint.

        Args:
            found: their map.
            files: where each was saved, relative to the output folder; earlier images lose files of these names.
            now: time of the run, in seconds since 1970; the clock's if None.
        """
        name, settings = fingerprint(found), described(found)
        scores = {quantity: found.score(quantity) for quantity in QUANTITIES}
        about = (
            name,
            str(settings.get("model", "")),
            json.dumps(settings),
            found.settings.get("seed"),
            found.settings.get("prompt"),
        )
        images = [
            Image(digest, *about, place, {q: (float(s.value[place]), float(s.standard_error[place])) for q, s in scores.items()})
            for place, digest in enumerate(image_digests(found))
        ]
        self.add([replace(image, file=files[image.place]) for image in images] if files else images, now)
        return name

    def add(self, images: Sequence[Image], now: float | None = None) -> None:
        """Record images in one transaction; those that are known stay one, earlier ones lose files of these names."""
        moment = time.time() if now is None else now
        columns = [column for quantity in QUANTITIES for column in (quantity, f"{quantity}_error")]
        fields = ("digest", "fingerprint", "created", "seed", "prompt", "place", "file", "rejected", *columns)
        rows = [
            (
                *(image.digest, image.fingerprint, moment, _signed(image.seed), image.prompt, image.place, image.file),
                None if image.file is None else int(image.rejected),
                *(value if math.isfinite(value) else None for q in QUANTITIES for value in image.scores[q]),
            )
            for image in images
        ]
        marks = ", ".join("?" * len(fields))
        insert = (
            f"INSERT INTO images ({', '.join(fields)}) VALUES ({marks}) ON CONFLICT (digest) DO UPDATE SET "  # nosec B608
            "file = coalesce(excluded.file, file), rejected = coalesce(excluded.rejected, rejected)"
        )
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            settings = {(image.fingerprint, image.model, image.settings) for image in images}
            connection.executemany("INSERT OR IGNORE INTO settings VALUES (?, ?, ?)", sorted(settings))
            # Names come again once their files were moved away or deleted: they belong to what was saved last.
            forget = "UPDATE images SET file = NULL, rejected = NULL WHERE file = ?"
            connection.executemany(forget, [(image.file,) for image in images if image.file is not None])
            connection.executemany(insert, rows)

    def standing(self, name: str, quantity: str, scores: Tensor) -> tuple[Tensor, Tensor, int]:
        """Where scores lie among all recorded ones.

        Args:
            name: the fingerprint.
            quantity: whose scores.
            scores: of the images, (B,), recorded themselves.

        Returns:
            How many score lower than each, (B,), how many higher, (B,), and how many there are.
        """
        check_choice("quantity", quantity, QUANTITIES)
        with self._open() as connection:
            recorded = torch.tensor(_sorted_scores(connection, name, quantity), dtype=torch.float64)
        wanted = scores.double()
        lower = torch.searchsorted(recorded, wanted)
        higher = len(recorded) - torch.searchsorted(recorded, wanted, right=True)
        return lower, higher, len(recorded)

    def page(self, query: Query, limit: int = 60, after: str | None = None) -> Page:
        """Some of the saved images that match, from the cursor on.

        Raises:
            ValueError: ``after`` is no cursor of this query.
        """
        where, values = _conditions(query)
        column = "created" if query.sort == "date" else query.quantity
        sign = ">" if query.order == "asc" else "<"
        direction = query.order.upper()
        with self._open() as connection:
            connection.execute("BEGIN")
            total = connection.execute(f"SELECT count(*) FROM images WHERE {where}", values).fetchone()[0]  # nosec B608
            if after is not None:
                where += f" AND ({column}, id) {sign} (?, ?)"
                values = [*values, *_cursor(after)]
            rows = connection.execute(
                f"SELECT images.*, {query.quantity} AS score, {query.quantity}_error AS standard_error, {column} AS position "  # nosec B608
                f"FROM images WHERE {where} ORDER BY {column} {direction}, id {direction} LIMIT ?",
                [*values, limit],
            ).fetchall()
            models = dict(connection.execute("SELECT fingerprint, model FROM settings"))
        last = json.dumps([rows[-1]["position"], rows[-1]["id"]]) if len(rows) == limit else None
        return Page([_entry(row, models) for row in rows], total, last)

    def find(self, ids: Sequence[int]) -> list[Entry]:
        """The saved images of these ids, in the order given; those that are unknown are left out."""
        with self._open() as connection:
            models = dict(connection.execute("SELECT fingerprint, model FROM settings"))
            select = "SELECT *, denoised_variance AS score, denoised_variance_error AS standard_error FROM images "
            rows = [connection.execute(select + "WHERE id = ? AND rejected IS NOT NULL", (each,)).fetchone() for each in ids]
        return [_entry(row, models) for row in rows if row is not None]

    def has(self, file: str) -> bool:
        """Whether a saved image has this file."""
        with self._open() as connection:
            return connection.execute("SELECT 1 FROM images WHERE file = ?", (file,)).fetchone() is not None

    def groups(self) -> list[tuple[str, dict[str, Any], int]]:
        """Every fingerprint that saved images have: its settings and how many, most first."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT fingerprint, settings, images FROM settings JOIN (SELECT fingerprint, count(*) AS images FROM images "
                "WHERE rejected IS NOT NULL GROUP BY fingerprint) USING (fingerprint) ORDER BY images DESC"
            ).fetchall()
        return [(row["fingerprint"], json.loads(row["settings"]), row["images"]) for row in rows]

    def better_than(self, entries: Sequence[Entry], quantity: str) -> list[tuple[float | None, int]]:
        """For each image, which fraction of the others of its fingerprint is less sure, and how many they are."""
        with self._open() as connection:
            # All scores of these settings once, not a count an image: a long page takes no longer than a short one.
            names = {entry.fingerprint for entry in entries}
            recorded = {name: _sorted_scores(connection, name, quantity) for name in names}
        found: list[tuple[float | None, int]] = []
        for entry in entries:
            scores = recorded[entry.fingerprint]
            others = max(0, len(scores) - 1)
            if entry.score is None or others < 1:
                found.append((None, others))
                continue
            worse = (
                bisect_left(scores, entry.score)
                if quantity in SURE_WHEN_HIGH
                else len(scores) - bisect_right(scores, entry.score)
            )
            found.append((worse / others, others))
        return found

    def moved(self, number: int, file: str, rejected: bool) -> Entry:
        """The file of an image lies elsewhere now; answers with its entry."""
        with self._open() as connection:
            connection.execute("UPDATE images SET file = ?, rejected = ? WHERE id = ?", (file, rejected, number))
        return self.find([number])[0]

    def state(self) -> tuple[int, int]:
        """How many images are recorded and the last one's number: changes whenever any is added."""
        with self._open() as connection:
            row = connection.execute("SELECT count(*), coalesce(max(id), 0) FROM images").fetchone()
        return int(row[0]), int(row[1])


def _signed(seed: int | None) -> int | None:
    """SQLite's integers have a sign, ComfyUI's seeds have 64 bits and none."""
    return seed if seed is None or seed < 1 << 63 else seed - (1 << 64)


def _unsigned(stored: int | None) -> int | None:
    return stored if stored is None else stored % (1 << 64)


def _sorted_scores(connection: sqlite3.Connection, name: str, quantity: str) -> list[float]:
    """All valid scores of a fingerprint, lowest first."""
    chosen = f"SELECT {quantity} FROM images WHERE fingerprint = ? AND {quantity} IS NOT NULL ORDER BY {quantity}"  # nosec B608
    return [row[0] for row in connection.execute(chosen, (name,))]


def _conditions(query: Query) -> tuple[str, list[Any]]:
    """The part of a statement that picks the saved images, and its values."""
    parts: list[tuple[str, Any]] = []
    if query.fingerprint is not None:
        parts.append(("fingerprint = ?", query.fingerprint))
    if query.model is not None:
        parts.append(("+fingerprint IN (SELECT fingerprint FROM settings WHERE model = ?)", query.model))
    limits: Mapping[str, float | None] = {
        "created >= ?": query.since,
        "created < ?": query.until,
        f"{query.quantity} >= ?": query.score_min,
        f"{query.quantity} <= ?": query.score_max,
    }
    parts += [(text, value) for text, value in limits.items() if value is not None]
    fixed = ["rejected IS NOT NULL"] if query.state == "all" else [f"rejected = {int(query.state == 'rejected')}"]
    if query.sort == "score":
        fixed.append(f"{query.quantity} IS NOT NULL")
    return " AND ".join([*fixed, *(text for text, _ in parts)]), [value for _, value in parts]


def _cursor(after: str) -> list[float]:
    try:
        position, number = json.loads(after)
        return [float(position), int(number)]
    except (ValueError, TypeError) as error:
        raise ValueError(f"after must be a cursor that a page named as its next, got {after!r}.") from error


def _entry(row: sqlite3.Row, models: Mapping[str, str]) -> Entry:
    plain = ("id", "fingerprint", "created", "place", "prompt", "score", "standard_error", "file")
    return Entry(
        **{name: row[name] for name in plain},
        seed=_unsigned(row["seed"]),
        model=models[row["fingerprint"]],
        rejected=bool(row["rejected"]),
    )
