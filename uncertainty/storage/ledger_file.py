"""Connections to the ledger's file."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .migrations import VERSION, is_current, migrate, version_of

# Seconds to wait while another process writes.
WAIT_FOR_WRITER = 10.0


class LedgerError(Exception):
    """The ledger cannot be read or written; the message says why and what to do."""


class LedgerFile:
    """The file, which is created when something is first written. Each context opens its own connection.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
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
    def reading(self) -> Iterator[sqlite3.Connection]:
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
