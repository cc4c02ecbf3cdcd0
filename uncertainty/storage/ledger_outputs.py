"""Output folders in the ledger: files are relative to one, and several ComfyUIs may share a ledger."""

import sqlite3
from pathlib import Path


def output_number(connection: sqlite3.Connection, output: str) -> int:
    """Id of an output folder, which is added if it is new."""
    for number, path in connection.execute("SELECT id, path FROM outputs ORDER BY path != ?", (output,)):
        if _is_same(path, output):
            return int(number)
    return int(connection.execute("INSERT INTO outputs (path) VALUES (?)", (output,)).lastrowid or 0)


def listed_in(connection: sqlite3.Connection, output: str) -> str:
    """The condition for rows whose files may be in an output folder; empty if that is all rows, as almost always."""
    known = connection.execute("SELECT id, path FROM outputs").fetchall()
    here = [number for number, path in known if path == "" or _is_same(path, output) or not Path(path).is_dir()]
    if not output or len(here) == len(known):
        return ""
    return f" AND output IN ({', '.join(map(str, here))})"


def _is_same(path: str, output: str) -> bool:
    """Whether a path is that of the output folder: where case does not count, it may be written in several ways."""
    if path == output:
        return True
    try:
        return bool(path and output) and Path(path).samefile(output)
    except OSError:  # one of them is gone
        return False
