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
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..choices import check_choice
from ..choosing.standing import Standing, stand
from ..maps import UncertaintyMap
from ..quantities import QUANTITIES
from ..scores import bad_end
from .ledger_file import LedgerFile
from .ledger_outputs import listed_in, output_number
from .ledger_query import ALL, LISTED, Query
from .ledger_rows import image_of, kept_text, models_by_fingerprint, settings_of, values_of
from .records import STATES, ImageRecord, records_of
from .sorted_scores import SortedScores

# Where the ledger lies below ComfyUI's user folder.
LOCATION = Path("uncertainty", "ledger.sqlite3")
# A row of the list.
_SELECT = (
    "SELECT images.*, (SELECT number FROM prompts WHERE digest = prompt_digest) AS number, "
    "(SELECT text FROM prompts WHERE digest = prompt_digest) AS prompt"
)
# What a file gives a row, and what the row loses with it.
OF_THE_FILE = ("output", "file", "size", "modified", "state", "stars")
# States that a person gave, of images on the list and off it.
BY_HAND = ", ".join(str(state) for kept in map(STATES.index, ("kept", "rejected")) for state in (kept, -1 - kept))


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
        self._file = LedgerFile(path)
        self.output = "" if output is None else str(output.resolve())
        self._sorted = SortedScores()

    def upgrade(self) -> None:
        """Bring an existing file up to the current schema, so that it can be read; a copy of the older file is kept."""
        if self.path.exists():
            with self._file.writing():
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
        with self._file.writing() as connection:
            output = output_number(connection, self.output)
            settings = {(image.fingerprint, image.model, image.settings) for image in images}
            connection.executemany("INSERT OR IGNORE INTO settings VALUES (?, ?, ?)", sorted(settings))
            for image in images:
                self._add(connection, image, moment, output)
            texts = {image.prompt_digest: kept_text(image.prompt) for image in images if image.prompt_digest is not None}
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
        with self._file.reading() as connection:
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
        with self._file.reading() as connection:
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
        with self._file.reading() as connection:
            where = f"{where}{listed_in(connection, self.output)}"
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
            models = models_by_fingerprint(connection)
        last = json.dumps([rows[-1][column.rpartition(".")[2]] for column, _ in query.keys]) if len(rows) == limit else None
        total = sum(counts[state] for state in query.states)
        return Page([image_of(row, models) for row in rows], total, last, counts)

    def find(self, ids: Sequence[int]) -> list[ImageRecord]:
        """The saved images with these ids, in the given order; unknown ids are skipped."""
        with self._file.reading() as connection:
            models = models_by_fingerprint(connection)
            select = f"{_SELECT} FROM images WHERE id = ? AND {LISTED}{listed_in(connection, self.output)}"  # nosec B608
            rows = [connection.execute(select, (each,)).fetchone() for each in ids]
        return [image_of(row, models) for row in rows if row is not None]

    def has(self, file: str) -> bool:
        """Whether an image with this file is recorded."""
        with self._file.reading() as connection:
            select = f"SELECT 1 FROM images WHERE file = ?{listed_in(connection, self.output)}"  # nosec B608
            return connection.execute(select, (file,)).fetchone() is not None

    def groups(self) -> list[tuple[str, dict[str, Any], int]]:
        """Every fingerprint of saved images, its settings and its number of images, most images first.

        Settings that cannot be read, or have impossible values, are left out.
        """
        with self._file.reading() as connection:
            rows = connection.execute(
                "SELECT fingerprint, settings, images FROM settings JOIN (SELECT fingerprint, count(*) AS images FROM images "
                f"WHERE {LISTED}{listed_in(connection, self.output)} GROUP BY fingerprint) "  # nosec B608
                "USING (fingerprint) ORDER BY images DESC"
            ).fetchall()
        return [(row["fingerprint"], settings_of(row["settings"]), row["images"]) for row in rows]

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
        with self._file.reading() as connection:
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
        with self._file.writing() as connection:
            changed["output"] = output_number(connection, self.output)
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
        with self._file.writing() as connection:
            return [each for each in ids if connection.execute(update, (each,)).rowcount]

    def state(self) -> tuple[int, int]:
        """Number of recorded images and the highest id; changes whenever an image is added."""
        with self._file.reading() as connection:
            row = connection.execute("SELECT count(*), coalesce(max(id), 0) FROM images").fetchone()
        return int(row[0]), int(row[1])

    def _add(self, connection: sqlite3.Connection, image: ImageRecord, moment: float, output: int) -> None:
        """Give an image a row, or its file to a row that has none or whose file was moved away."""
        values = values_of(image, moment, output)
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


def _counts(connection: sqlite3.Connection, table: str, where: str, values: Sequence[Any]) -> dict[str, int]:
    """Number of images in each state."""
    # The plus sign keeps SQLite from the index by state where rows must be read: it would read them in that order, far apart.
    sign = "" if where.startswith(ALL) else "+"
    select = f"SELECT state, count(*) FROM {table} WHERE {sign}{LISTED} AND {where} GROUP BY {sign}state"  # nosec B608
    found = {STATES[state]: count for state, count in connection.execute(select, values) if state in range(len(STATES))}
    return {state: found.get(state, 0) for state in STATES}
