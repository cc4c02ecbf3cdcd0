"""The schema of the ledger, as numbered migrations: each brings a file from one version to the next and is never edited again.

Columns of scores derive from the quantities; a new quantity needs no migration. Not alembic, which ComfyUI brings: the command
line writes the ledger outside ComfyUI too, where only torch and numpy are sure to be there, and these lines do the job.
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
    # ``rejected`` is NULL until the image is saved: then there is a file to reject.
    connection.execute(
        "CREATE TABLE images (id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, "
        "fingerprint TEXT NOT NULL REFERENCES settings, created REAL NOT NULL, "
        "seed INTEGER, place INTEGER NOT NULL, prompt TEXT, file TEXT, rejected INTEGER)"
    )
    _index(connection, "created")
    connection.execute("CREATE INDEX by_file ON images (file)")


def _prompt_is_a_digest(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE images RENAME COLUMN prompt TO prompt_digest")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first, _prompt_is_a_digest)
VERSION = len(MIGRATIONS)


def version_of(connection: sqlite3.Connection) -> int:
    """How many migrations a file has seen; 0 for a new one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether nothing is to be done."""
    return version_of(connection) == VERSION and not _missing_columns(connection)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the ledger in ``path`` up to date, in one transaction; an older one with rows is copied first.

    Another process may do it at the same moment: whoever comes second finds nothing left to do.
    """
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        before = version_of(connection)
        if 0 < before < VERSION:
            _copy(path, before)
        for number in range(before, VERSION):
            MIGRATIONS[number](connection)
        for name in _missing_columns(connection):
            connection.execute(f"ALTER TABLE images ADD COLUMN {name} REAL")  # nosec B608
            if name in QUANTITIES:
                _index(connection, name)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def copy_of(path: Path, version: int) -> Path:
    """Where the copy of an older ledger goes."""
    return path.with_name(f"{path.stem}.version-{version}{path.suffix}")


def _copy(path: Path, version: int) -> None:
    with (
        atomic_write(copy_of(path, version)) as unfinished,
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(unfinished)) as target,
    ):
        source.backup(target)


def _missing_columns(connection: sqlite3.Connection) -> list[str]:
    """Columns of scores that the table lacks; all of them before there is a table."""
    present = {row[1] for row in connection.execute("PRAGMA table_info(images)")}
    return [column for name in QUANTITIES for column in (name, f"{name}_error") if column not in present]


def _index(connection: sqlite3.Connection, name: str) -> None:
    """For one order of the list, with what it is narrowed by: counting and paging look at no row that is not shown."""
    connection.execute(f"CREATE INDEX IF NOT EXISTS by_{name} ON images ({name}, id, rejected, fingerprint)")
    connection.execute(f"CREATE INDEX IF NOT EXISTS by_fingerprint_and_{name} ON images (fingerprint, {name}, id, rejected)")
