"""Images in the order of their scores, in a temporary SQLite file: a million of them take no more memory than ten."""

import math
import posixpath
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from uncertainty.choosing.cut import Rule, passes
from uncertainty.storage.records import ImageRecord

from .terminal import printable

TABLES = """
CREATE TABLE groups (id INTEGER PRIMARY KEY, prompt_digest BLOB, fingerprint BLOB, prompt BLOB, file BLOB,
    UNIQUE (prompt_digest, fingerprint));
CREATE TABLE images (id INTEGER PRIMARY KEY, group_id INTEGER, folder BLOB, file BLOB, value REAL, error REAL, bad REAL,
    digest BLOB, seed BLOB, place INTEGER);
"""
ADD = """
INSERT INTO images VALUES (NULL, (SELECT id FROM groups WHERE prompt_digest = ? AND fingerprint = ?), ?, ?, ?, ?, ?, ?, ?, ?)
"""
# ``bad`` is high for bad images, and NULL for those without a finite score, which come last.
RANKED = """
CREATE TABLE ranked AS SELECT *, bad IS NOT NULL AND passes(bad, position, scored) AS kept FROM (
    SELECT *, row_number() OVER best - 1 AS position, rank() OVER (PARTITION BY group_id ORDER BY bad IS NULL, bad) - 1 AS better,
        count(bad) OVER (PARTITION BY group_id) AS scored
    FROM images WINDOW best AS (PARTITION BY group_id ORDER BY bad IS NULL, bad, id)
) ORDER BY group_id, position
"""
GROUPS = """
SELECT prompt_digest, fingerprint, prompt, file, count(*) OVER (PARTITION BY prompt_digest),
    (SELECT count(*) FROM images WHERE group_id = groups.id), id
FROM groups ORDER BY id
"""


@dataclass(frozen=True)
class Group:
    """Images that compare with one another.

    Attributes:
        prompt_digest: of their prompt; empty if it is not known, or if all prompts are ranked together.
        fingerprint: of their settings.
        prompt: of the first of them; None if it is not known.
        file: of the first of them.
        settings: number of groups with this prompt.
        count: number of images.
        id: number of the group.
    """

    prompt_digest: str
    fingerprint: str
    prompt: str | None
    file: str
    settings: int
    count: int
    id: int


@dataclass(frozen=True)
class Ranked:
    """An image in its group.

    Attributes:
        file: its file.
        value: its score; NaN if it has none.
        error: standard error of the score; NaN if it has none.
        better: number of better images.
        scored: number of images with a finite score.
        kept: whether it passes the rule.
    """

    file: str
    value: float
    error: float
    better: int
    scored: int
    kept: bool


class Ranking:
    """Images that are added one by one, and then listed.

    Args:
        rule: which of them are kept.
        quantity: whose scores count.
        across_prompts: whether images of all prompts form one group for each of their settings.

    Attributes:
        count: number of images.
        width: characters of the longest name of a file.
    """

    def __init__(self, rule: Rule, quantity: str, *, across_prompts: bool) -> None:
        self.rule, self.quantity, self.across_prompts = rule, quantity, across_prompts
        self.count = self.width = 0
        self._database = sqlite3.connect("", isolation_level=None)  # a file without a name, which is gone when it is closed
        self._database.execute("PRAGMA temp_store = FILE")
        self._database.executescript(TABLES)
        self._database.create_function("passes", 3, lambda bad, position, scored: passes(bad, position, scored, rule))

    def add(self, image: ImageRecord) -> None:
        """Add an image that has the score."""
        value, error = image.scores[self.quantity]
        bad = (value if self.rule.reject == "highest" else -value) if math.isfinite(value) else None
        group = (_stored("" if self.across_prompts else image.prompt_digest or ""), _stored(image.fingerprint))
        number = None if image.seed is None else str(image.seed)  # it may be larger than SQL's numbers
        folder, file, digest, seed = map(_stored, (posixpath.dirname(image.file or ""), image.file, image.digest, number))
        run = self._database.execute
        run("INSERT OR IGNORE INTO groups VALUES (NULL, ?, ?, ?, ?)", (*group, _stored(image.prompt), file))
        about = (folder, file, value, error, bad, digest, seed, image.place)
        run(ADD, (*group, *about))
        self.count += 1
        self.width = max(self.width, len(printable(image.file)))

    def sort(self) -> None:
        """Rank what was added; once, before it is listed."""
        self._database.execute("CREATE INDEX members ON images (group_id)")
        self._database.execute(RANKED)
        self._database.execute("CREATE INDEX ranked_members ON ranked (group_id)")

    def groups(self) -> Iterator[Group]:
        """Groups in the order in which their first images were added."""
        for *texts, settings, count, number in self._database.execute(GROUPS):
            digest, fingerprint, prompt, file = map(_text, texts)
            yield Group(digest or "", fingerprint or "", prompt, file or "", settings, count, number)

    def images(self, group: Group) -> Iterator[Ranked]:
        """Images of a group, best first. Ties keep their order; those without a finite score come last."""
        query = "SELECT file, value, error, better, scored, kept FROM ranked WHERE group_id = ? ORDER BY rowid"
        for file, value, error, better, scored, kept in self._database.execute(query, (group.id,)):
            value, error = (math.nan if number is None else number for number in (value, error))  # SQL has no NaN
            yield Ranked(_text(file) or "", value, error, better, scored, bool(kept))

    def rejected(self) -> Iterator[ImageRecord]:
        """Images that are not kept, as far as they tell which file is theirs; those of one folder one after the other."""
        query = """SELECT ranked.file, digest, seed, fingerprint, place FROM ranked JOIN groups ON groups.id = group_id
            WHERE NOT kept ORDER BY folder, ranked.file"""
        for *texts, place in self._database.execute(query):
            file, digest, seed, fingerprint = map(_text, texts)
            number = None if seed is None else int(seed)
            yield ImageRecord({}, fingerprint or "", "", place, number, digest, file=file or "")

    def close(self) -> None:
        """Delete the file."""
        self._database.close()


def _stored(text: str | None) -> bytes | None:
    """A text for SQLite, which takes no lone surrogates: file names have them where they are no UTF-8, and prompts may."""
    return None if text is None else text.encode("utf-8", "surrogatepass")


def _text(stored: bytes | None) -> str | None:
    return None if stored is None else stored.decode("utf-8", "surrogatepass")
