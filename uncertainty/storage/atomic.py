"""Atomic writes: a file is either complete or absent, even if the process is killed while writing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED = ".part"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Context manager that yields a temporary path to write to, then flushes it to disk and renames it to ``path``.

    If the body raises, the temporary file is removed and an earlier file at ``path`` stays unchanged. A killed process leaves a
    file that ends in ``.part``, which is never read.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}{UNFINISHED}")
    try:
        yield unfinished
        _sync(unfinished, os.O_RDWR)
        unfinished.replace(path)
        with suppress(OSError):  # Windows cannot open folders
            _sync(path.parent, os.O_RDONLY)
    finally:
        unfinished.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    """Flush to disk. Otherwise a power cut after the rename could leave a file without content."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
