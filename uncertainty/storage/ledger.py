"""Scores of the images of all runs, in one SQLite file: one row per saved file, one transaction per run.

A digest identifies an image. It gets a row when it is measured, the same row when it is saved, and another row for each further
file that it is saved to; it counts once among the scores that others are compared with. Scores are comparable only under equal
settings, which a *fingerprint* identifies, and say which image is better only within one prompt, which a digest identifies. The
schema is in ``migrations``.
"""

import json
import math
import sqlite3
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..choices import check_choice
from ..choosing.standing import Standing, stand
from ..kinds import COUNT, NUMBER
from ..maps import UncertaintyMap
from ..quantities import QUANTITIES
from ..scores import bad_end
from ..settings import possible
from . import foreign
from .ledger_query import ALL, LISTED, Query, signed
from .migrations import VERSION, is_current, migrate, version_of
from .rating import MOST_STARS
from .records import STATES, ImageRecord, records_of
from .sorted_scores import SortedScores

# Seconds to wait while another process writes.
WAIT_FOR_WRITER = 10.0
# Where the ledger lies below ComfyUI's user folder.
LOCATION = Path("uncertainty", "ledger.sqlite3")
# Fields of a record that have a column of the same name.
COLUMNS = (
    *("digest", "fingerprint", "created", "seed", "prompt_digest", "place"),
    *("file", "size", "modified", "state", "stars"),
)
# Longest text of a prompt that is kept; the rest of a longer one is left out.
LONGEST_PROMPT = 10_000
# A row of the list.
_SELECT = (
    "SELECT images.*, (SELECT number FROM prompts WHERE digest = prompt_digest) AS number, "
    "(SELECT text FROM prompts WHERE digest = prompt_digest) AS prompt"
)
# What a file gives a row, and what the row loses with it.
OF_THE_FILE = ("output", "file", "size", "modified", "state", "stars")
# States that a person gave, of images on the list and off it.
BY_HAND = ", ".join(str(state) for kept in map(STATES.index, ("kept", "rejected")) for state in (kept, -1 - kept))


class LedgerError(Exception):
    """The ledger cannot be read or written; the message says why and what to do."""


@dataclass(frozen=True)
class Page:
    """One page of a query.

    Attributes:
        images: its images.
        total: number of all matches.
        next: cursor of the next page; None for the last.
        counts: number of images in each state that match everything else.
    """

    images: list[ImageRecord]
    total: int
    next: str | None
    counts: dict[str, int]


class Ledger:
    """The ledger in a file, which is created when something is first recorded.

    Methods are thread-safe: each opens its own connection. Those that ask do not write.

    Args:
        path: the file.
        output: the output folder that files are relative to; None if files do not matter. Files recorded in another output
            folder are not listed, unless that folder no longer exists and may have become this one.
    """

    def __init__(self, path: Path, output: Path | None = None) -> None:
        self.path = path
        self.output = "" if output is None else str(output.resolve())
        self._sorted = SortedScores()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A connection with the current schema, in a transaction that commits at the end or rolls back on an error.

        Raises:
            LedgerError: the file cannot be used.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        with self._connected(self.path) as connection:
            # The file survives a killed process. A power cut may lose the last runs but cannot corrupt the file.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            self._refuse_newer(connection)
            if not is_current(connection):
                migrate(connection, self.path)
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the file and cannot change it. It does not wait for a process that writes.

        Raises:
            LedgerError: the file cannot be used.
        """
        with ExitStack() as opened:
            connection = opened.enter_context(self._connected(self.path if self.path.exists() else ":memory:"))
            if version_of(connection) == 0:  # there is no file, or an empty one of a process that was killed at once
                connection = opened.enter_context(self._connected(":memory:"))
                migrate(connection, self.path)
            self._refuse_newer(connection)
            if not is_current(connection):
                raise LedgerError(f"the ledger {self.path.name} was written by an older version of this pack: restart ComfyUI.")
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def _connected(self, where: Path | str) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(where, timeout=WAIT_FOR_WRITER, isolation_level=None)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            connection.row_factory = sqlite3.Row
            connection.text_factory = lambda stored: stored.decode(errors="replace")  # a damaged text costs its row, not the page
            with connection:
                yield connection
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        finally:
            connection.close()

    def _unusable(self, error: Exception) -> LedgerError:
        reason = (isinstance(error, OSError) and error.strerror) or error  # without the path of the file
        return LedgerError(f"the ledger {self.path.name} cannot be used ({reason}): check its folder and the disk space.")

    def _refuse_newer(self, connection: sqlite3.Connection) -> None:
        version = version_of(connection)
        if version > VERSION:
            raise LedgerError(
                f"the ledger {self.path.name} has version {version}, but this pack reads versions up to {VERSION}: update the "
                "pack, or move the file away to start a new ledger."
            )

    def upgrade(self) -> None:
        """Bring an existing file up to the current schema, so that it can be read; a copy of the older file is kept."""
        if self.path.exists():
            with self._writing():
                pass

    def record(
        self, measured: UncertaintyMap, files: Sequence[str] | None = None, now: float | None = None, prompt: str | None = None
    ) -> str:
        """Record the images of a map in one transaction and return their fingerprint.

        Args:
            measured: the map.
            files: path of each saved image, relative to the output folder. Earlier images with the same path lose it.
            now: time of the run, in seconds since 1970; None for the current time.
            prompt: text of the prompt; None to keep no text.
        """
        images = [replace(image, prompt=prompt) for image in records_of(measured, files)]
        self.add(images, now)
        return images[0].fingerprint

    def add(self, images: Sequence[ImageRecord], now: float | None = None) -> None:
        """Record images in one transaction. An image has one row for each of its files, or one if it has none.

        Raises:
            OSError: a file is not in the output folder, whose files are recorded with size and time.
        """
        if self.output:
            images = [image if image.file is None else image.stamped(Path(self.output, image.file)) for image in images]
        moment = time.time() if now is None else now
        with self._writing() as connection:
            output = _output_number(connection, self.output)
            settings = {(image.fingerprint, image.model, image.settings) for image in images}
            connection.executemany("INSERT OR IGNORE INTO settings VALUES (?, ?, ?)", sorted(settings))
            for image in images:
                self._add(connection, image, moment, output)
            texts = {image.prompt_digest: _kept_text(image.prompt) for image in images if image.prompt_digest is not None}
            connection.executemany(
                "INSERT INTO prompts (digest, text) VALUES (?, ?) "
                "ON CONFLICT (digest) DO UPDATE SET text = coalesce(excluded.text, text)",
                texts.items(),
            )
            extra = ((image.digest, name, value) for image in images for name, (value, _) in image.extra_scores.items())
            connection.executemany("INSERT OR REPLACE INTO extra_scores VALUES (?, ?, ?)", extra)

    def standing(self, name: str, prompt: str | None, quantity: str, scores: Tensor, digests: Collection[str] = ()) -> Standing:
        """The standing of scores among all recorded scores and themselves, whether or not these images are recorded.

        Args:
            name: the fingerprint.
            prompt: digest of the prompt; None to mix all prompts.
            quantity: quantity of the scores.
            scores: scores of the images, (B,).
            digests: digests of the images, so that recorded ones are not counted twice.
        """
        check_choice("quantity", quantity, QUANTITIES)
        with self._reading() as connection:
            everything = self._sorted.of(connection, name, prompt, quantity)
            select = f"SELECT {quantity} FROM images WHERE digest = ? AND copy = 0 AND fingerprint = ?"  # nosec B608
            rows = [connection.execute(select, (digest, name)).fetchone() for digest in digests]
        ours = Counter(row[0] for row in rows if row is not None and row[0] is not None)
        keep = torch.ones(len(everything), dtype=torch.bool)
        for score, count in ours.items():
            start = int(torch.searchsorted(everything, score))
            keep[start : start + count] = False
        among = torch.cat([everything[keep], scores[scores.isfinite()].double()])
        return stand(scores, among.sort().values)

    def extra_scores(self, name: str, prompt: str | None, quantity: str, extra: Sequence[str]) -> tuple[list[str], Tensor]:
        """Digests and scores of the recorded images that have a score of a quantity and all of some scores of other programs.

        Args:
            name: the fingerprint.
            prompt: digest of the prompt; None to mix all prompts.
            quantity: quantity of the first score.
            extra: names of the other scores.

        Returns:
            The digests of N images, and their scores, (N, 1 + number of other scores) float64.
        """
        check_choice("quantity", quantity, QUANTITIES)
        tables = [f"scores_{number}" for number in range(len(extra))]
        joined = " ".join(
            f"JOIN extra_scores AS {table} ON {table}.digest = images.digest AND {table}.name = ?" for table in tables
        )
        select = (
            f"SELECT images.digest, {', '.join([quantity, *(f'{table}.value' for table in tables)])} FROM images {joined} "  # nosec B608
            f"WHERE fingerprint = ? AND copy = 0 AND {quantity} IS NOT NULL{'' if prompt is None else ' AND prompt_digest = ?'}"
        )
        with self._reading() as connection:
            rows = connection.execute(select, (*extra, name, *([] if prompt is None else [prompt]))).fetchall()
        rows = [tuple(row) for row in rows if all(isinstance(value, float) for value in tuple(row)[1:])]
        return [row[0] for row in rows], torch.tensor([row[1:] for row in rows], dtype=torch.float64).reshape(-1, 1 + len(extra))

    def page(self, query: Query, limit: int = 60, after: str | None = None) -> Page:
        """Up to ``limit`` matching saved images, starting after the cursor ``after``.

        Raises:
            ValueError: ``after`` is not a cursor.
        """
        where, values = query.conditions()
        order = ", ".join(f"{column} {direction.upper()}" for column, direction in query.keys)
        with self._reading() as connection:
            where = f"{where}{self._listed(connection)}"
            counts = _counts(connection, query.table, where, values)
            where = f"{query.of_state} AND {where}"
            if after is not None:
                condition, more = query.after(after)
                where, values = f"{where} AND {condition}", [*values, *more]
            # The first condition is about ``state``. The plus sign keeps SQLite from its index, which is not in this order.
            rows = connection.execute(
                f"{_SELECT} FROM {query.table} WHERE +{where} ORDER BY {order} LIMIT ?",  # nosec B608
                [*values, limit],
            ).fetchall()
            models = _models(connection)
        last = json.dumps([rows[-1][column.rpartition(".")[2]] for column, _ in query.keys]) if len(rows) == limit else None
        total = sum(counts[state] for state in query.states)
        return Page([_image(row, models) for row in rows], total, last, counts)

    def find(self, ids: Sequence[int]) -> list[ImageRecord]:
        """The saved images with these ids, in the given order; unknown ids are skipped."""
        with self._reading() as connection:
            models = _models(connection)
            select = f"{_SELECT} FROM images WHERE id = ? AND {LISTED}{self._listed(connection)}"  # nosec B608
            rows = [connection.execute(select, (each,)).fetchone() for each in ids]
        return [_image(row, models) for row in rows if row is not None]

    def has(self, file: str) -> bool:
        """Whether an image with this file is recorded."""
        with self._reading() as connection:
            select = f"SELECT 1 FROM images WHERE file = ?{self._listed(connection)}"  # nosec B608
            return connection.execute(select, (file,)).fetchone() is not None

    def groups(self) -> list[tuple[str, dict[str, Any], int]]:
        """Every fingerprint of saved images, its settings and its number of images, most images first.

        Settings that cannot be read, or have impossible values, are left out.
        """
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT fingerprint, settings, images FROM settings JOIN (SELECT fingerprint, count(*) AS images FROM images "
                f"WHERE {LISTED}{self._listed(connection)} GROUP BY fingerprint) "  # nosec B608
                "USING (fingerprint) ORDER BY images DESC"
            ).fetchall()
        return [(row["fingerprint"], _settings(row["settings"]), row["images"]) for row in rows]

    def ranks(
        self, images: Sequence[ImageRecord], quantity: str, *, across_prompts: bool = False
    ) -> list[tuple[int | None, int]]:
        """The rank of each image, 1 for the surest, among the recorded images of its prompt and settings, and their number.

        The rank is None without a valid score. An image whose prompt is unknown is compared with none.

        Args:
            images: recorded images.
            quantity: quantity of the scores.
            across_prompts: whether to compare with the images of all prompts.
        """
        answers: list[tuple[int | None, int]] = [(None, 0)] * len(images)
        groups: dict[tuple[str, str | None], list[int]] = {}
        for index, image in enumerate(images):
            if across_prompts or image.prompt_digest is not None:
                groups.setdefault((image.fingerprint, None if across_prompts else image.prompt_digest), []).append(index)
        with self._reading() as connection:
            for (name, prompt), indices in groups.items():
                scores = [images[index].score(quantity) for index in indices]
                values = torch.tensor([math.nan if score is None else score for score in scores], dtype=torch.float64)
                standing = stand(values, self._sorted.of(connection, name, prompt, quantity))
                for index, score, better in zip(indices, scores, standing.better(bad_end(quantity)).tolist(), strict=True):
                    answers[index] = None if score is None else better + 1, standing.count
        return answers

    def change(
        self,
        number: int,
        *,
        file: str | None = None,
        state: str | None = None,
        stars: int | None = None,
        stamp: tuple[int, int] | None = None,
    ) -> ImageRecord:
        """Store what changed of a saved image, whose file is in this output folder, and return the updated record.

        Args:
            number: id of the row.
            file: its new path.
            state: its new state.
            stars: its new stars.
            stamp: new size and time of change of the file.
        """
        size, modified = stamp or (None, None)
        position = None if state is None else STATES.index(state)
        given = {"file": file, "state": position, "stars": stars, "size": size, "modified": modified}
        changed = {name: value for name, value in given.items() if value is not None}
        with self._writing() as connection:
            changed["output"] = _output_number(connection, self.output)
            setting = ", ".join(f"{name} = ?" for name in changed)
            connection.execute(f"UPDATE images SET {setting} WHERE id = ?", (*changed.values(), number))  # nosec B608
        return self.find([number])[0]

    def take_off(self, ids: Sequence[int]) -> list[int]:
        """Take saved images off the list and return those that were on it. Their scores still count; no file changes."""
        return self._turned(ids, LISTED)

    def put_back(self, ids: Sequence[int]) -> list[int]:
        """Put images that were taken off the list back, with what was said of them, and return those."""
        return self._turned(ids, "state < 0")

    def _turned(self, ids: Sequence[int], condition: str) -> list[int]:
        update = f"UPDATE images SET state = -1 - state WHERE id = ? AND {condition}"  # nosec B608
        with self._writing() as connection:
            return [each for each in ids if connection.execute(update, (each,)).rowcount]

    def state(self) -> tuple[int, int]:
        """Number of recorded images and the highest id; changes whenever an image is added."""
        with self._reading() as connection:
            row = connection.execute("SELECT count(*), coalesce(max(id), 0) FROM images").fetchone()
        return int(row[0]), int(row[1])

    def _add(self, connection: sqlite3.Connection, image: ImageRecord, moment: float, output: int) -> None:
        """Give an image a row, or its file to a row that has none or whose file was moved away."""
        values = _values(image, moment, output)
        of_the_file = {name: values[name] for name in OF_THE_FILE}
        if image.file is not None:
            # A name belongs to the image that was saved last.
            connection.execute(
                "UPDATE images SET file = NULL, size = NULL, modified = NULL, state = NULL, stars = 0 "
                "WHERE file = ? AND output = ? AND digest != ?",
                (image.file, output, image.digest),
            )
        rows = connection.execute(
            "SELECT id, copy, file, output FROM images WHERE digest = ? ORDER BY copy", (image.digest,)
        ).fetchall()
        if image.file is None and rows:
            return
        same = [row["id"] for row in rows if (row["file"], row["output"]) == (image.file, output)]
        free = [row["id"] for row in rows if row["file"] is None or (row["output"] == output and self._is_gone(row["file"]))]
        for number in (same or free)[:1]:
            # What a person said of the image holds, also if its file was deleted or moved meanwhile.
            held = {"state": f"CASE WHEN state IN ({BY_HAND}) THEN state ELSE ? END", "stars": "coalesce(nullif(?, 0), stars)"}
            setting = ", ".join(f"{name} = {held.get(name, '?')}" for name in of_the_file)
            connection.execute(f"UPDATE images SET {setting} WHERE id = ?", (*of_the_file.values(), number))  # nosec B608
            connection.execute("UPDATE images SET state = -1 - state WHERE id = ? AND state < 0", (number,))  # on the list again
            return
        values["copy"] = rows[-1]["copy"] + 1 if rows else 0
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO images ({names}) VALUES ({marks})", tuple(values.values()))  # nosec B608

    def _is_gone(self, file: str) -> bool:
        """Whether a file is no longer in the output folder."""
        return bool(self.output) and not Path(self.output, file).is_file()

    def _listed(self, connection: sqlite3.Connection) -> str:
        """The condition for rows whose files may be in this output folder; empty if that is all rows, as almost always."""
        known = connection.execute("SELECT id, path FROM outputs").fetchall()
        here = [number for number, path in known if path == "" or _is_same(path, self.output) or not Path(path).is_dir()]
        if not self.output or len(here) == len(known):
            return ""
        return f" AND output IN ({', '.join(map(str, here))})"


def _counts(connection: sqlite3.Connection, table: str, where: str, values: Sequence[Any]) -> dict[str, int]:
    """Number of images in each state."""
    # The plus sign keeps SQLite from the index by state where rows must be read: it would read them in that order, far apart.
    sign = "" if where.startswith(ALL) else "+"
    select = f"SELECT state, count(*) FROM {table} WHERE {sign}{LISTED} AND {where} GROUP BY {sign}state"  # nosec B608
    found = {STATES[state]: count for state, count in connection.execute(select, values) if state in range(len(STATES))}
    return {state: found.get(state, 0) for state in STATES}


def _output_number(connection: sqlite3.Connection, output: str) -> int:
    """Id of an output folder, which is added if it is new."""
    for number, path in connection.execute("SELECT id, path FROM outputs ORDER BY path != ?", (output,)):
        if _is_same(path, output):
            return int(number)
    return int(connection.execute("INSERT INTO outputs (path) VALUES (?)", (output,)).lastrowid or 0)


def _is_same(path: str, output: str) -> bool:
    """Whether a path is that of the output folder: where case does not count, it may be written in several ways."""
    if path == output:
        return True
    try:
        return bool(path and output) and Path(path).samefile(output)
    except OSError:  # one of them is gone
        return False


def _kept_text(prompt: str | None) -> str | None:
    """The text as it is stored; what is no text, such as half a surrogate pair, must not cost the row."""
    return prompt[:LONGEST_PROMPT].encode(errors="replace").decode() if prompt else None


def _values(image: ImageRecord, moment: float, output: int) -> dict[str, Any]:
    """The columns of a new row; a score that is absent or not finite is NULL."""
    values: dict[str, Any] = {name: getattr(image, name) for name in COLUMNS}
    values |= {"created": moment, "seed": signed(image.seed), "output": output}
    values["state"] = None if image.file is None else STATES.index(image.state)
    for name in QUANTITIES:
        values |= {name: image.score(name), f"{name}_error": image.standard_error(name)}
    return values


def _settings(stored: str) -> dict[str, Any]:
    """Settings as far as they can be read: earlier versions recorded maps of other programs without checking them."""
    try:
        return possible(foreign.fields(stored))
    except ValueError:
        return {}


def _image(row: sqlite3.Row, models: Mapping[str, str]) -> ImageRecord:
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


def _models(connection: sqlite3.Connection) -> dict[str, str]:
    """Model by fingerprint."""
    return {row["fingerprint"]: row["model"] for row in connection.execute("SELECT fingerprint, model FROM settings")}


def _number(stored: object) -> float:
    return stored if isinstance(stored, float) else math.nan


def _unsigned(stored: object) -> int | None:
    return stored % (1 << 64) if isinstance(stored, int) else None
