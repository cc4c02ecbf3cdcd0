"""Scores of the images of all runs, in one SQLite file: one row per image, one transaction per run.

A digest of its map and settings identifies an image, so an image that is recorded again, for example when it is saved, keeps its
row. Scores are comparable only under equal settings, which a *fingerprint* identifies. The schema is in ``migrations``.
"""

import json
import math
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..choices import check_choice
from ..choosing.standing import Standing, stand
from ..maps import UncertaintyMap
from ..quantities import QUANTITIES
from ..scores import bad_end
from .ledger_query import Query
from .migrations import VERSION, is_current, migrate, version_of
from .records import ImageRecord, records_of

# Seconds to wait while another process writes.
PATIENCE = 10.0
# Fields of a record that have a column of the same name.
COLUMNS = ("digest", "fingerprint", "created", "seed", "prompt_digest", "place", "file", "rejected")


class LedgerError(Exception):
    """The ledger cannot be read or written; the message says why and what to do."""


@dataclass(frozen=True)
class Page:
    """One page of a query: its images, the total number of matches, and the cursor of the next page (None for the last)."""

    images: list[ImageRecord]
    total: int
    next: str | None


class Ledger:
    """The ledger in a file, which is created at first use. Methods are thread-safe: each opens its own connection."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection that commits at the end, or rolls back on an error.

        Raises:
            LedgerError: the file cannot be used.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            connection.row_factory = sqlite3.Row
            # The file survives a killed process. A power cut may lose the last runs but cannot corrupt the file.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            self._bring_up_to_date(connection)
            with connection:
                yield connection
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        finally:
            connection.close()

    def _unusable(self, error: Exception) -> LedgerError:
        return LedgerError(f"the ledger {self.path.name} cannot be used ({error}): check its folder and the disk space.")

    def _bring_up_to_date(self, connection: sqlite3.Connection) -> None:
        version = version_of(connection)
        if version > VERSION:
            raise LedgerError(
                f"the ledger {self.path.name} has version {version}, but this pack reads versions up to {VERSION}: update the "
                "pack, or move the file away to start a new ledger."
            )
        if not is_current(connection):
            migrate(connection, self.path)

    def record(self, measured: UncertaintyMap, files: Sequence[str] | None = None, now: float | None = None) -> str:
        """Record the images of a map in one transaction and return their fingerprint.

        Args:
            measured: the map.
            files: path of each saved image, relative to the output folder. Earlier images with the same path lose it.
            now: time of the run, in seconds since 1970; None for the current time.
        """
        images = records_of(measured, files)
        self.add(images, now)
        return images[0].fingerprint

    def add(self, images: Sequence[ImageRecord], now: float | None = None) -> None:
        """Record images in one transaction. Known images keep their row; earlier images with the same file lose it."""
        moment = time.time() if now is None else now
        columns = (*COLUMNS, *_score_columns())
        insert = (
            f"INSERT INTO images ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "  # nosec B608
            "ON CONFLICT (digest) DO UPDATE SET file = coalesce(excluded.file, file), "
            "rejected = coalesce(excluded.rejected, rejected)"
        )
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            settings = {(image.fingerprint, image.model, image.settings) for image in images}
            connection.executemany("INSERT OR IGNORE INTO settings VALUES (?, ?, ?)", sorted(settings))
            # ComfyUI reuses the name of a file that was moved or deleted. A name belongs to the image saved last.
            forget = "UPDATE images SET file = NULL, rejected = NULL WHERE file = ?"
            connection.executemany(forget, [(image.file,) for image in images if image.file is not None])
            connection.executemany(insert, [_row(image, moment) for image in images])

    def standing(self, name: str, quantity: str, scores: Tensor, digests: Collection[str] = ()) -> Standing:
        """The standing of scores among all recorded scores and themselves, whether or not these images are recorded.

        Args:
            name: the fingerprint.
            quantity: quantity of the scores.
            scores: scores of the images, (B,).
            digests: digests of the images, so that recorded ones are not counted twice.
        """
        check_choice("quantity", quantity, QUANTITIES)
        with self._open() as connection:
            others = _sorted_scores(connection, name, quantity, digests)
        among = torch.cat([torch.tensor(others, dtype=torch.float64), scores[scores.isfinite()].double()])
        return stand(scores, among.sort().values)

    def page(self, query: Query, limit: int = 60, after: str | None = None) -> Page:
        """Up to ``limit`` matching saved images, starting after the cursor ``after``.

        Raises:
            ValueError: ``after`` is not a cursor.
        """
        where, values = query.conditions()
        direction = query.order.upper()
        with self._open() as connection:
            connection.execute("BEGIN")
            total = connection.execute(f"SELECT count(*) FROM images WHERE {where}", values).fetchone()[0]  # nosec B608
            if after is not None:
                condition, more = query.after(after)
                where, values = f"{where} AND {condition}", [*values, *more]
            rows = connection.execute(
                f"SELECT * FROM images WHERE {where} "  # nosec B608
                f"ORDER BY {query.column} {direction}, id {direction} LIMIT ?",
                [*values, limit],
            ).fetchall()
            models = _models(connection)
        last = json.dumps([rows[-1][query.column], rows[-1]["id"]]) if len(rows) == limit else None
        return Page([_image(row, models) for row in rows], total, last)

    def find(self, ids: Sequence[int]) -> list[ImageRecord]:
        """The saved images with these ids, in the given order; unknown ids are skipped."""
        with self._open() as connection:
            models = _models(connection)
            select = "SELECT * FROM images WHERE id = ? AND rejected IS NOT NULL"
            rows = [connection.execute(select, (each,)).fetchone() for each in ids]
        return [_image(row, models) for row in rows if row is not None]

    def has(self, file: str) -> bool:
        """Whether an image with this file is recorded."""
        with self._open() as connection:
            return connection.execute("SELECT 1 FROM images WHERE file = ?", (file,)).fetchone() is not None

    def groups(self) -> list[tuple[str, dict[str, Any], int]]:
        """Every fingerprint of saved images, its settings and its number of images, most images first."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT fingerprint, settings, images FROM settings JOIN (SELECT fingerprint, count(*) AS images FROM images "
                "WHERE rejected IS NOT NULL GROUP BY fingerprint) USING (fingerprint) ORDER BY images DESC"
            ).fetchall()
        return [(row["fingerprint"], json.loads(row["settings"]), row["images"]) for row in rows]

    def better_than(self, images: Sequence[ImageRecord], quantity: str) -> list[tuple[float | None, int]]:
        """For each image, the fraction of the other images of its fingerprint that are less sure, and their number."""
        answers: list[tuple[float | None, int]] = [(None, 0)] * len(images)
        with self._open() as connection:
            # Reads all scores of a fingerprint once instead of counting for each image, so long pages are as fast as short ones.
            for name in {image.fingerprint for image in images}:
                places = [place for place, image in enumerate(images) if image.fingerprint == name]
                recorded = torch.tensor(_sorted_scores(connection, name, quantity), dtype=torch.float64)
                scores = [images[place].score(quantity) for place in places]
                values = torch.tensor([math.nan if score is None else score for score in scores], dtype=torch.float64)
                standing = stand(values, recorded)
                for place, score, worse in zip(places, scores, standing.worse(bad_end(quantity)).tolist(), strict=True):
                    known = score is not None and standing.others > 0
                    answers[place] = worse / standing.others if known else None, standing.others
        return answers

    def moved(self, number: int, file: str, rejected: bool) -> ImageRecord:
        """Store the new path of an image's file and return the updated record."""
        with self._open() as connection:
            connection.execute("UPDATE images SET file = ?, rejected = ? WHERE id = ?", (file, rejected, number))
        return self.find([number])[0]

    def state(self) -> tuple[int, int]:
        """Number of recorded images and the highest id; changes whenever an image is added."""
        with self._open() as connection:
            row = connection.execute("SELECT count(*), coalesce(max(id), 0) FROM images").fetchone()
        return int(row[0]), int(row[1])


def _score_columns() -> list[str]:
    return [column for name in QUANTITIES for column in (name, f"{name}_error")]


def _row(image: ImageRecord, moment: float) -> tuple[Any, ...]:
    """Values of the columns; a score that is absent or not finite is NULL."""
    about = {name: getattr(image, name) for name in COLUMNS}
    about |= {"created": moment, "seed": _signed(image.seed), "rejected": None if image.file is None else int(image.rejected)}
    scores = [part for name in QUANTITIES for part in (image.score(name), image.standard_error(name))]
    return (*about.values(), *scores)


def _image(row: sqlite3.Row, models: Mapping[str, str]) -> ImageRecord:
    scores = {name: (_number(row[name]), _number(row[f"{name}_error"])) for name in QUANTITIES}
    about: dict[str, Any] = {name: row[name] for name in ("id", *COLUMNS)}
    about |= {"seed": _unsigned(row["seed"]), "rejected": bool(row["rejected"])}
    return ImageRecord(**about, scores=scores, model=models[row["fingerprint"]])


def _models(connection: sqlite3.Connection) -> dict[str, str]:
    """Model by fingerprint."""
    return {row["fingerprint"]: row["model"] for row in connection.execute("SELECT fingerprint, model FROM settings")}


def _number(stored: float | None) -> float:
    return math.nan if stored is None else stored


def _signed(seed: int | None) -> int | None:
    """A seed as a signed integer: ComfyUI's seeds are unsigned 64-bit integers, SQLite's integers are signed."""
    return seed if seed is None or seed < 1 << 63 else seed - (1 << 64)


def _unsigned(stored: int | None) -> int | None:
    return stored if stored is None else stored % (1 << 64)


def _sorted_scores(connection: sqlite3.Connection, name: str, quantity: str, without: Collection[str] = ()) -> list[float]:
    """All valid scores of a fingerprint, lowest first, except those of the given digests."""
    chosen = f"SELECT {quantity} FROM images WHERE fingerprint = ? AND {quantity} IS NOT NULL "  # nosec B608
    if without:
        chosen += "AND digest NOT IN (SELECT value FROM json_each(?)) "
    values = (name, json.dumps(list(without))) if without else (name,)
    return [row[0] for row in connection.execute(f"{chosen}ORDER BY {quantity}", values)]
