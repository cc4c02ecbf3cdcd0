"""Files that are whole or absent, whatever happens while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED = ".part"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a name to write to; what was written there becomes ``path`` in one step, when it lies on the disk.

    An error inside leaves nothing behind and an earlier file as it was. A process that is killed leaves a file that ends in
    ``.part``, which nothing reads.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}{UNFINISHED}")
    try:
        yield unfinished
        _sync(unfinished, os.O_RDWR)
        unfinished.replace(path)
        with suppress(OSError):  # Windows opens no folders
            _sync(path.parent, os.O_RDONLY)
    finally:
        unfinished.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    """Wait until the disk has it: else a power cut after the renaming could leave a name without content."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
