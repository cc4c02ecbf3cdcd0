"""Moving rejected files out of sight, and back. Nothing is deleted, nothing overwritten, nothing leaves its folder tree."""

import os
from collections.abc import Callable
from pathlib import Path

REJECTED = "rejected"


def reject(root: Path, file: Path) -> Path:
    """Move a file into the folder ``rejected`` beside it; answers with its new place.

    Raises:
        ValueError: it lies outside ``root``, or there already.
        FileNotFoundError: it is gone.
    """
    inside(root, file)
    if file.parent.name == REJECTED:
        raise ValueError(f"{file.name} lies in a folder {REJECTED} already.")
    return _moved(root, file, file.parent / REJECTED)


def restore(root: Path, file: Path) -> Path:
    """Move a file out of the folder ``rejected``, to the folder that this lies in; answers with its new place.

    Raises:
        ValueError: it lies outside ``root``, or is not rejected.
        FileNotFoundError: it is gone.
    """
    inside(root, file)
    if file.parent.name != REJECTED:
        raise ValueError(f"{file.name} does not lie in a folder {REJECTED}.")
    return _moved(root, file, file.parent.parent)


def inside(root: Path, file: Path) -> None:
    """Raise ValueError unless the file lies below ``root``, links followed."""
    if not file.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{file.name} lies outside the folder {root.name}: nothing there is moved.")


def _moved(root: Path, file: Path, folder: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"{file.name} is not in its folder any more.")
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
    """Rename to a name that nobody has; raises FileExistsError where somebody has it.

    First a second name, then one less: whenever that is cut off, the file is there, whole, and the next move goes on.
    """
    try:
        os.link(file, place)
    except FileExistsError:
        if not place.samefile(file):
            raise
    except OSError:  # a file system without links, like that of memory cards: an empty file holds the name instead
        place.touch(exist_ok=False)
        _unless(lambda: file.replace(place), place)
        return
    _unless(file.unlink, place)


def _unless(done: Callable[[], object], place: Path) -> None:
    """Do it; if it fails, the new name goes again."""
    try:
        done()
    except OSError:
        place.unlink()
        raise
