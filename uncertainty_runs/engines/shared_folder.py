"""Whether a worker sees the folder of the batch. It is found out, because the same path may exist on every machine."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from uncertainty.storage.atomic import UNFINISHED, write_whole
from uncertainty.storage.in_use import discard


@dataclass(frozen=True)
class MarkedFolder:
    """A folder as the driver sees it, and the file with a random name that it put there.

    A new name for each run: network file systems remember for a while that a file was missing.
    """

    path: Path
    mark: str

    def is_here(self) -> bool:
        """Whether this machine sees this very folder, and may write to it."""
        return (self.path / self.mark).is_file() and os.access(self.path, os.W_OK)


@contextmanager
def marked(folder: Path) -> Iterator[MarkedFolder]:
    """Mark a folder for as long as the context lasts. The mark of a killed driver is removed with its unfinished files.

    Raises:
        OSError: the folder cannot be written to.
    """
    mark = folder / f"{secrets.token_hex(16)}{UNFINISHED}"
    write_whole(mark, b"")
    try:
        yield MarkedFolder(folder, mark.name)
    finally:
        discard(mark)
