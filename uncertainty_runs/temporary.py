"""A temporary folder of a process, and removal of those whose process was killed.

The system releases a lock when its process ends, for whatever reason. A folder whose lock is free belongs to nobody. Process
numbers would not tell: they are used again, and differ between containers that share a folder.
"""

import os
import shutil
import stat
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout  # torch brings it

PREFIX = "uncertainty-"
LOCK = "in-use.lock"


class TemporaryFolder:
    """A new folder among the system's temporary files, which is removed at the latest when a later process makes one."""

    def __init__(self) -> None:
        remove_abandoned()
        while True:
            self._folder = tempfile.TemporaryDirectory(prefix=PREFIX)
            self.path = Path(self._folder.name)
            self._lock = FileLock(self.path / LOCK)
            self._lock.acquire()
            if (self.path / LOCK).is_file():  # else it was taken for abandoned before it was locked
                return

    def remove(self) -> None:
        """Delete it."""
        self._lock.release()
        self._folder.cleanup()


def remove_abandoned() -> None:
    """Delete the folders that killed processes of this user left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if not _is_own(folder):
            continue
        try:
            with FileLock(folder / LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):  # in use, or removed by another process
            continue


def _is_own(folder: Path) -> bool:
    """Whether this is a folder of ``TemporaryFolder`` and of this user; no links, which may lead anywhere."""
    try:
        about, lock = folder.lstat(), (folder / LOCK).lstat()
    except OSError:
        return False
    is_users = not hasattr(os, "getuid") or about.st_uid == os.getuid()
    return is_users and stat.S_ISDIR(about.st_mode) and stat.S_ISREG(lock.st_mode)
