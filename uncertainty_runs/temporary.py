"""A temporary folder of a process, and removal of those whose process was killed.

The system releases a lock when its process ends, for whatever reason. A folder whose lock is free belongs to nobody. Process
numbers would not tell: they are used again, and differ between containers that share a folder.
"""

import os
import shutil
import stat
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout  # torch brings it

PREFIX = "uncertainty-"
LOCK = "in-use.lock"


class TemporaryFolder:
    """A new folder among the system's temporary files, which is removed at the latest when a later process makes one."""

    def __init__(self) -> None:
        remove_abandoned()
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            lock = FileLock(self.path / LOCK)
            lock.acquire()
            if (self.path / LOCK).is_file():  # else it was taken for abandoned before it was locked
                break
        self._removal = weakref.finalize(self, _remove, self.path, lock)

    def remove(self) -> None:
        """Delete it; done at the latest when this process ends."""
        self._removal()


def remove_abandoned() -> None:
    """Delete the folders that killed processes of this user left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not _is_own(folder):
            continue
        try:
            lock = FileLock(folder / LOCK)
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # in use, or removed by another process
            continue
        _remove(folder, lock)


def _remove(folder: Path, lock: FileLock) -> None:
    """Delete a folder whose lock this process holds. On Windows, files that are open stay, and the lock marks them for later."""
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()  # only now can Windows delete it, and only if nobody waits for it
    with suppress(OSError):  # the folder is gone
        if all(path.name == LOCK for path in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            (folder / LOCK).touch()


def _is_own(folder: Path) -> bool:
    """Whether this is a folder of ``TemporaryFolder`` and of this user; no links, which may lead anywhere."""
    try:
        about, lock = folder.lstat(), (folder / LOCK).lstat()
    except OSError:
        return False
    is_users = not hasattr(os, "getuid") or about.st_uid == os.getuid()
    return is_users and stat.S_ISDIR(about.st_mode) and stat.S_ISREG(lock.st_mode)
