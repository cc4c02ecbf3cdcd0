"""Moving rejected files to a subfolder, and back. No file is deleted, overwritten or moved out of its folder tree."""

import os
from collections.abc import Callable
from pathlib import Path

REJECTED = "rejected"


def reject(root: Path, file: Path) -> Path:
    """Move a file into the folder ``rejected`` next to it, and return its new path.

    Raises:
        ValueError: the file is outside ``root``, or already in a folder ``rejected``.
        FileNotFoundError: the file does not exist.
    """
    inside(root, file)
    if file.parent.name == REJECTED:
        raise ValueError(f"{file.name} is already in a folder named {REJECTED}.")
    return _moved(root, file, file.parent / REJECTED)


def restore(root: Path, file: Path) -> Path:
    """Move a file from a folder ``rejected`` to the folder above, and return its new path.

    Raises:
        ValueError: the file is outside ``root``, or not in a folder ``rejected``.
        FileNotFoundError: the file does not exist.
    """
    inside(root, file)
    if file.parent.name != REJECTED:
        raise ValueError(f"{file.name} is not in a folder named {REJECTED}.")
    return _moved(root, file, file.parent.parent)


def inside(root: Path, file: Path) -> None:
    """Raise ValueError unless the file is below ``root`` after links are resolved."""
    if not file.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{file.name} is outside the folder {root.name}, where files are not moved.")


def _moved(root: Path, file: Path, folder: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"{file.name} is no longer in its folder.")
    folder.mkdir(exist_ok=True)
    inside(root, folder)  # it may be a link
    wanted, number = folder / file.name, 0
    while True:
        place = wanted if number == 0 else wanted.with_stem(f"{wanted.stem} ({number})")
        try:
            _rename(file, place)
        except FileExistsError:
            number += 1
            continue
        return place


def _rename(file: Path, place: Path) -> None:
    """Rename without overwriting; raise FileExistsError if the name is taken.

    The new link is made before the old one is removed. If this is interrupted, the file is intact and can be moved again.
    """
    try:
        os.link(file, place)
    except FileExistsError:
        if not place.samefile(file):
            raise
    except OSError:  # file systems without links, such as FAT: an empty file reserves the name instead
        place.touch(exist_ok=False)
        _unless(lambda: file.replace(place), place)
        return
    _unless(file.unlink, place)


def _unless(done: Callable[[], object], place: Path) -> None:
    """Run the last operation of a move; if it fails, remove the new name."""
    try:
        done()
    except OSError:
        place.unlink()
        raise
