"""The schema of the ledger, as numbered migrations: each upgrades a file to the next version and is never edited after a release.

Score columns derive from the quantities, so a new quantity needs no migration. Alembic, which ComfyUI installs, is not used
because the ledger must also work where only torch and numpy are installed, and these few lines suffice.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ..quantities import QUANTITIES
from .atomic import atomic_write


def _first(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE settings (fingerprint TEXT PRIMARY KEY, model TEXT NOT NULL, settings TEXT NOT NULL) WITHOUT ROWID"
    )
    # ``rejected`` is NULL until the image is saved, because there is no file to reject before.
    connection.execute(
        "CREATE TABLE images (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, "
        "fingerprint TEXT NOT NULL REFERENCES settings, created REAL NOT NULL, "
        "seed INTEGER, place INTEGER NOT NULL, prompt TEXT, file TEXT, rejected INTEGER)"
    )
    _index(connection, "created")
    connection.execute("CREATE INDEX by_file ON images (file)")


def _prompt_is_a_digest(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE images RENAME COLUMN prompt TO prompt_digest")


def _files_are_identified(connection: sqlite3.Connection) -> None:
    """A row for each file of an image, which tells the output folder, the size and the time of the file."""
    connection.execute("CREATE TABLE outputs (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE)")
    connection.execute("INSERT INTO outputs VALUES (0, '')")  # of earlier rows, whose folder is not known
    # SQLite cannot remove UNIQUE from a column, so the table is written anew.
    fixed = (
        "id INTEGER PRIMARY KEY, digest TEXT NOT NULL, copy INTEGER NOT NULL DEFAULT 0, "
        "fingerprint TEXT NOT NULL REFERENCES settings, created REAL NOT NULL, seed INTEGER, place INTEGER NOT NULL, "
        "prompt_digest TEXT, output INTEGER NOT NULL DEFAULT 0 REFERENCES outputs, file TEXT, size INTEGER, modified INTEGER, "
        "rejected INTEGER"
    )
    kept = [row[1] for row in connection.execute("PRAGMA table_info(images)")]
    known = {part.split()[0] for part in fixed.split(", ")}
    scores = "".join(f", {name} REAL" for name in kept if name not in known)
    connection.execute(f"CREATE TABLE rows ({fixed}{scores}, UNIQUE (digest, copy))")
    listed = ", ".join(kept)
    connection.execute(f"INSERT INTO rows ({listed}) SELECT {listed} FROM images")  # nosec B608
    connection.execute("DROP TABLE images")
    connection.execute("ALTER TABLE rows RENAME TO images")
    connection.execute("CREATE INDEX by_file ON images (file, output)")
    connection.execute("CREATE INDEX by_state ON images (rejected, output, fingerprint)")  # small, so that counting is fast
    for name in ("created", *(name for name in QUANTITIES if name in kept)):
        _index(connection, name)


def _images_of_a_prompt(connection: sqlite3.Connection) -> None:
    # The prompt first, so that SQLite does not take this index for queries by settings alone.
    connection.execute("CREATE INDEX by_prompt ON images (prompt_digest, fingerprint)")


def _scores_of_other_programs(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE extra_scores (digest TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (digest, name)) "
        "WITHOUT ROWID"
    )


def _texts_of_prompts(connection: sqlite3.Connection) -> None:
    """Each prompt once, numbered in the order of first use; its text, if it is kept, is found without reading any image."""
    connection.execute("CREATE TABLE prompts (number INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, text TEXT)")
    connection.execute(
        "INSERT INTO prompts (digest) SELECT prompt_digest FROM images WHERE prompt_digest IS NOT NULL "
        "GROUP BY prompt_digest ORDER BY min(id)"
    )


def _states_of_images(connection: sqlite3.Connection) -> None:
    """Instead of whether the file was moved away, which its path tells: what a person or a rule said of the image.

    The column holds the position in ``records.STATES``. It is NULL until the image is saved, and ``-1 - position`` while the
    image is taken off the list. It keeps its place in the indexes. So far, images were rejected by hand, by moving them.
    """
    connection.execute("ALTER TABLE images RENAME COLUMN rejected TO state")
    connection.execute("UPDATE images SET state = 2 WHERE state = 1")
    connection.execute("ALTER TABLE images ADD COLUMN stars INTEGER NOT NULL DEFAULT 0")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _first,
    _prompt_is_a_digest,
    _files_are_identified,
    _images_of_a_prompt,
    _scores_of_other_programs,
    _texts_of_prompts,
    _states_of_images,
)
VERSION = len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """Schema version of a file: the number of applied migrations, 0 for a new file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether the file needs no migration and has all score columns."""
    return version_of(connection) == VERSION and not _missing_columns(connection)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Upgrade the ledger in ``path`` in one transaction. A file with an older schema is copied first.

    If two processes migrate at the same time, the second waits and then finds nothing to do.
    """
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        before = version_of(connection)
        if 0 < before < VERSION:
            _copy(path, before)
        for number in range(before, VERSION):
            MIGRATIONS[number](connection)
        for name in _missing_columns(connection):
            connection.execute(f"ALTER TABLE images ADD COLUMN {name} REAL")
            if name in QUANTITIES:
                _index(connection, name)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def copy_of(path: Path, version: int) -> Path:
    """Path of the copy of an older ledger."""
    return path.with_name(f"{path.stem}.version-{version}{path.suffix}")


def _copy(path: Path, version: int) -> None:
    with (
        atomic_write(copy_of(path, version)) as unfinished,
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(unfinished)) as target,
    ):
        source.backup(target)


def _missing_columns(connection: sqlite3.Connection) -> list[str]:
    """Score columns that the table lacks; all of them if there is no table yet."""
    present = {row[1] for row in connection.execute("PRAGMA table_info(images)")}
    return [column for name in QUANTITIES for column in (name, f"{name}_error") if column not in present]


def _index(connection: sqlite3.Connection, name: str) -> None:
    """Create indexes for one sort order that include the filter columns, so that counting and paging read no other rows."""
    present = {row[1] for row in connection.execute("PRAGMA table_info(images)")}
    state = "state" if "state" in present else "rejected"
    also = f"{state}, output, copy" if "output" in present else state
    connection.execute(f"CREATE INDEX IF NOT EXISTS by_{name} ON images ({name}, id, {also}, fingerprint)")
    connection.execute(f"CREATE INDEX IF NOT EXISTS by_fingerprint_and_{name} ON images (fingerprint, {name}, id, {also})")
