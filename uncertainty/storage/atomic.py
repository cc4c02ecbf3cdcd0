"""Atomic writes: a file is either complete or absent, even if the process is killed while writing."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .in_use import when_free

UNFINISHED = ".part"
WINDOWS = os.name == "nt"
# Unless long paths are switched on in Windows, it does not find longer ones.
LONGEST_PATH = 259


@contextmanager
def atomic_write(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Context manager that yields a temporary path to write to, then flushes it to disk and renames it to ``path``.

    If the body raises, the temporary file is removed and an earlier file at ``path`` stays unchanged. A killed process leaves a
    file that ends in ``.part``, which is never read.

    Args:
        path: the file.
        replace: whether an earlier file at ``path`` is replaced.

    Raises:
        FileExistsError: there is a file at ``path``, and ``replace`` is False.
        PermissionError: another program has an earlier file at ``path`` open, and Windows does not replace it.
        OSError: the file cannot be written.
    """
    # A name of its own, because two processes may write the same file at the same time.
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        _sync(unfinished, os.O_RDWR)
        if replace:
            when_free(lambda: unfinished.replace(path), path)
        else:
            rename_to_new(unfinished, path, known_as=path)
        with suppress(OSError):  # Windows cannot open folders
            _sync(path.parent, os.O_RDONLY)
    except FileNotFoundError as error:
        length = len(str(unfinished.absolute()))
        if not WINDOWS or length <= LONGEST_PATH:
            raise
        raise OSError(
            f"{path.name} cannot be written: its path while it is written has {length} characters, and Windows allows "
            f"{LONGEST_PATH}. Shorten the names of the file and its folders, or switch long paths on in Windows."
        ) from error
    finally:
        with suppress(OSError):  # it is in the way of nothing, and never read
            when_free(lambda: unfinished.unlink(missing_ok=True), unfinished)


def write_whole(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Write a file atomically. Arguments and errors as for ``atomic_write``."""
    with atomic_write(path, replace=replace) as unfinished:
        unfinished.write_bytes(content)


def rename_to_new(source: Path, target: Path, known_as: Path | None = None) -> None:
    """Rename a file, but never over another file. At every moment the file has one of its two names, or both.

    Args:
        source: the file.
        target: its new name.
        known_as: its name in messages; None for ``source``.

    Raises:
        FileExistsError: the new name is taken.
        FileNotFoundError: the file is gone.
        PermissionError: another program has the file open, and Windows does not rename it.
        OSError: the file cannot be renamed; it keeps its old name.
    """
    if WINDOWS:  # whose rename refuses a name that is taken
        when_free(lambda: source.rename(target), known_as or source)
        return
    try:
        os.link(source, target)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:  # file systems without links, such as FAT: an empty file reserves the name instead
        target.touch(exist_ok=False)
        _or_remove(target, lambda: source.replace(target))
        return
    _or_remove(target, lambda: source.unlink(missing_ok=True))  # another process may have removed the old name meanwhile


def _or_remove(made: Path, last: Callable[[], object]) -> None:
    """The last operation of a rename; if it fails, the new name, which this process made, is removed."""
    try:
        last()
    except OSError:
        made.unlink(missing_ok=True)
        raise


def _sync(path: Path, flags: int) -> None:
    """Flush to disk. Otherwise a power cut after the rename could leave a file without content."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
