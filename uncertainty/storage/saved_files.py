"""Which file is that of a row: names are used again, so a name alone says nothing.

A file is the one that was recorded if its size and time of change are the recorded ones, or else if the entry inside it is.
"""

import stat
from pathlib import Path

from . import picture_entry
from .records import ImageRecord


def is_file_of(image: ImageRecord, path: Path) -> bool:
    """Whether the file at a path is that of a recorded image."""
    try:
        about = path.stat()
    except (OSError, ValueError):  # ValueError: no file can have this name
        return False
    if not stat.S_ISREG(about.st_mode):
        return False
    if (about.st_size, about.st_mtime_ns) == (image.size, image.modified):
        return True
    try:
        inside = picture_entry.read(path)  # a copy, or a file that was brought back, has another time
    except (OSError, ValueError):
        return False
    if inside is None:
        return False
    if inside.digest is not None:
        return inside.digest == image.digest
    return (inside.fingerprint, inside.seed, inside.place) == (image.fingerprint, image.seed, image.place)
