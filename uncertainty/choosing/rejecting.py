"""Moving rejected files to a subfolder, and back. No file is deleted, overwritten or moved out of its folder tree.

Whoever moves files of a folder holds its ``Mover``, which one thread of one process has at a time: two moves of the same file
at once could each take the other's new name for the old one, and remove it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..storage.atomic import rename_to_new
from ..storage.in_use import when_free

REJECTED = "rejected"
LOCK = ".moves.lock"
# Seconds to wait while another process moves files of the same folder.
WAIT_FOR_MOVER = 60.0


class Mover:
    """The right to move the files of one folder; ``moving`` hands it out.

    Args:
        root: the folder tree that files must stay in.
        folder: the folder of files that are not rejected.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder

    def reject(self, name: str) -> Path:
        """Move a file of the folder into its subfolder ``rejected``, and return the new path.

        Raises:
            ValueError: the file is outside ``root``.
            FileNotFoundError: the file does not exist.
            OSError: the file cannot be moved; it stays where it is.
        """
        return self._move(self.folder / name, self.folder / REJECTED)

    def restore(self, name: str) -> Path:
        """Move a file from the subfolder ``rejected`` back into the folder, and return the new path. Raises as ``reject``."""
        return self._move(self.folder / REJECTED / name, self.folder)

    def _move(self, file: Path, folder: Path) -> Path:
        inside(self.root, file)
        if not file.is_file():
            raise FileNotFoundError(f"{file.name} is no longer in its folder.")
        wanted, number = folder / file.name, 0
        while True:
            place = wanted if number == 0 else numbered(wanted, number)
            try:
                rename_to_new(file, place)
            except FileExistsError:
                if not place.samefile(file):
                    number += 1
                    continue
                when_free(file.unlink, file)  # an earlier move was interrupted after it had made the new name
            return place


@contextmanager
def moving(root: Path, folder: Path) -> Iterator[Mover]:
    """The mover of a folder, once no other thread or process has it. Creates the subfolder ``rejected``, which holds the lock.

    Raises:
        ValueError: the folder, or its subfolder ``rejected``, is outside ``root``, or it is itself a subfolder ``rejected``.
        OSError: the folder does not exist, cannot be written to, or is in use by another process for too long.
    """
    inside(root, folder)
    if is_for_rejected(folder):
        raise ValueError(f"{folder.name} is where rejected files go: files in it cannot be rejected again.")
    rejected = folder / REJECTED
    rejected.mkdir(exist_ok=True)
    inside(root, rejected)  # it may be a link
    try:
        with FileLock(rejected / LOCK, timeout=WAIT_FOR_MOVER):
            yield Mover(root, folder)
    except Timeout as error:
        raise TimeoutError(
            f"another process has been moving files of {folder.name} for {WAIT_FOR_MOVER:g} seconds: try again."
        ) from error


def is_for_rejected(folder: Path) -> bool:
    """Whether a folder is one for rejected files. Where case does not count, it may have been made as ``Rejected``."""
    if folder.name == REJECTED:
        return True
    if folder.name.casefold() != REJECTED:
        return False
    try:
        return folder.samefile(folder.with_name(REJECTED))
    except OSError:  # there is none of that name
        return False


def folder_of(file: Path) -> Path:
    """The folder that a file is in when it is not rejected."""
    return file.parent.parent if is_away(file) else file.parent


def is_away(file: Path) -> bool:
    """Whether a file is where rejected files go."""
    return file.parent.name == REJECTED


def numbered(path: Path, number: int) -> Path:
    """The path that a moved file gets if ``number`` others have its name."""
    return path.with_stem(f"{path.stem} ({number})")


def inside(root: Path, file: Path) -> None:
    """Raise ValueError unless the file is below ``root`` after links are resolved."""
    if not file.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{file.name} is outside the folder {root.name}, where files are not moved.")
