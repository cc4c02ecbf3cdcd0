"""The file systems of other desks: below one folder, the file functions of this process behave as on Windows or on macOS.

As on Windows: reserved names, forbidden characters and long paths are refused, trailing dots and spaces are cut off; names that
differ in case are one name; what somebody has open cannot be renamed, replaced or deleted, what is write-protected cannot be
replaced, deleted or written; ``os.rename`` refuses a name that is taken; links to files need a right that users lack; folders
cannot be opened; text files are in the code page, with its line ends; functions that exist on Linux alone are missing. As on
macOS: names that differ in case or in the form of their accents are one name, which comes back as it was first given; names must
be UTF-8; ``posix_fallocate`` is missing.

Who has a file open is asked of the system, so that open files and mappings of libraries in other languages count. Not imitated
are how these libraries open files themselves, other processes, signals, separators, drives, ``os.name``, ``sys.platform``, locks,
and what is behind colons (alternate streams) and reserved names (devices), which are refused here.
"""

import builtins
import errno
import fcntl
import io
import os
import re
import shutil
import stat
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\\]')
RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[1-9¹²³]) *(\..*)?", re.IGNORECASE)
LONGEST_PATH, LONGEST_FOLDER, LONGEST_NAME = 259, 247, 255
DRIVE = "C:\\ComfyUI\\output"  # what the folder stands for, so that its own length does not count
# A file with which the library of locks tries out how Linux locks; on Windows it does not.
TRIED_ON_LINUX = ".filelock-probe-"
# Numbers of Windows' errors.
NOT_FOUND, DENIED, IN_USE, INVALID_NAME, EXISTS, TOO_LONG, NO_RIGHT, NO_FUNCTION = 3, 5, 32, 123, 183, 206, 1314, 1
MISSING = {
    "windows": [
        *("fork", "forkpty", "posix_fallocate", "killpg", "getpgid", "setsid", "geteuid", "getuid", "getegid", "getgid"),
        *("uname", "mkfifo", "chown", "statvfs", "sched_getaffinity", "nice", "getloadavg"),
    ],
    "macos": ["posix_fallocate", "sched_getaffinity"],
}


@dataclass
class Desk:
    """A folder on such a file system.

    Attributes:
        root: the folder.
        kind: ``windows`` or ``macos``.
        hard_links: whether it has them: exFAT, as on memory cards, has none.
        code_page: encoding of text files that name none.
        scanner: seconds for which a virus scanner has a new file open, from the first try to rename or delete it.
        held: files that another program has open until it closes them.
    """

    root: Path
    kind: str
    hard_links: bool = True
    code_page: str = "cp1252"
    scanner: float = 0.0
    held: set[Path] = field(default_factory=set)
    _scanned: dict[int, float] = field(default_factory=dict)

    @property
    def is_windows(self) -> bool:
        return self.kind == "windows"

    @contextmanager
    def viewing(self, path: Path) -> Iterator[None]:
        """Another program shows a file."""
        self.held.add(path)
        try:
            yield
        finally:
            self.held.discard(path)

    @contextmanager
    def at_it(self) -> Iterator["Desk"]:
        """Work at this desk."""
        if not Path("/proc/self/maps").is_file() or sys.version_info < (3, 11):
            pytest.skip("who has a file open is read from /proc, and pathlib of Python 3.10 keeps functions of its own")
        with pytest.MonkeyPatch.context() as patch:
            self._put_in_place(patch)
            yield self

    def _put_in_place(self, patch: pytest.MonkeyPatch) -> None:
        for name in ("stat", "lstat", "listdir", "scandir", "mkdir", "rmdir", "unlink", "chmod", "utime", "access", "readlink"):
            patch.setattr(os, name, self._of_one(name))
        patch.setattr(os, "remove", os.unlink)
        for name in ("rename", "replace", "link", "symlink"):
            patch.setattr(os, name, self._of_two(name))
        patch.setattr(os, "open", self._os_open())
        opening = self._open()
        patch.setattr(io, "open", opening)
        patch.setattr(builtins, "open", opening)
        patch.setattr(shutil, "_use_fd_functions", False)
        for name in MISSING[self.kind]:
            patch.delattr(os, name, raising=False)
        if self.is_windows:
            sync, resolve = os.fsync, os.path.realpath
            patch.setattr(os, "fsync", lambda file: _checked_sync(sync, file))
            patch.setattr(os.path, "realpath", lambda path, **more: os.fspath(self.real(resolve(path, **more))))
            for name, module in list(sys.modules.items()):
                if name.endswith("uncertainty.storage.atomic"):  # ComfyUI loads the pack under a name of its own
                    patch.setattr(module, "WINDOWS", True)

    def real(self, path: Any, limit: int = LONGEST_PATH) -> Any:
        """The path of what a name means, in the case that it was made with; what is outside the folder stays as it is."""
        if isinstance(path, int):
            return path
        given = os.path.normpath(_whole(path))
        root = str(self.root)
        if given != root and not given.startswith(f"{root}/"):
            return path
        names = given[len(root) + 1 :].split("/") if given != root else []
        self._check(path, names, limit)
        found = root
        for name in names:
            found = f"{found}/{self._spelled(found, name.rstrip(' .') or name if self.is_windows else name)}"
        return path if found == _whole(path) else found

    def _check(self, path: Any, names: list[str], limit: int) -> None:
        if not self.is_windows:
            if any(0xD800 <= ord(letter) < 0xE000 for name in names for letter in name):
                raise OSError(errno.EILSEQ, "Illegal byte sequence", os.fspath(path))
            return
        if any(FORBIDDEN.search(name) or RESERVED.fullmatch(name) for name in names):
            raise _refused(OSError, errno.EINVAL, INVALID_NAME, "The filename, directory name, or volume label syntax", path)
        if len("\\".join([DRIVE, *names])) > limit or any(len(name) > LONGEST_NAME for name in names):
            raise _refused(FileNotFoundError, errno.ENOENT, TOO_LONG, "The filename or extension is too long", path)

    def _spelled(self, folder: str, name: str) -> str:
        """How a name is spelled in a folder: as it was first given."""
        if _exists(f"{folder}/{name}") or not _exists(folder):
            return name
        return next((other for other in listed(folder) if self._key(other) == self._key(name)), name)

    def _key(self, name: str) -> str:
        if self.is_windows:
            return "".join(letter.upper() if len(letter.upper()) == 1 else letter for letter in name)
        return unicodedata.normalize("NFD", name).casefold()

    def _of_one(self, name: str) -> Callable[..., Any]:
        function, check = getattr(os, name), getattr(self, f"_{name}", None) if self.is_windows else None

        def called(path: Any = ".", *more: Any, **named: Any) -> Any:
            found = self.real(path, LONGEST_FOLDER if name == "mkdir" else LONGEST_PATH)
            if check is not None and self._is_here(found):
                check(found, path)
            if name == "access" and self.is_windows and more and more[0] & os.W_OK and _is_protected(found):
                return False
            if name == "chmod" and self.is_windows and self._is_here(found):
                more = (0o666 if more[0] & stat.S_IWRITE else 0o444, *more[1:]) if _is_file(found) else (0o777, *more[1:])
            return function(found, *more, **named)

        return called

    def _of_two(self, name: str) -> Callable[..., Any]:
        function, check = getattr(os, name), getattr(self, f"_{name}", None) if self.is_windows else None

        def called(source: Any, target: Any, *more: Any, **named: Any) -> Any:
            first, second = source if name == "symlink" else self.real(source), self.real(target)
            if name == "link" and not self.hard_links and self._is_here(second):
                raise _refused(OSError, errno.EINVAL, NO_FUNCTION, "Incorrect function", source)
            if check is not None and (self._is_here(first) or self._is_here(second)):
                check(first, second)
            if name in ("rename", "replace") and self._is_respelling(first, second, target):
                second = Path(second).with_name(Path(target).name)  # another case
            return function(first, second, *more, **named)

        return called

    def _is_respelling(self, first: Any, second: Any, target: Any) -> bool:
        """Whether a file is only to be spelled in another way."""
        return _is_same(first, second) and Path(first).parent == Path(second).parent and Path(second).name != Path(target).name

    def _is_here(self, path: Any) -> bool:
        if isinstance(path, int):
            return False
        whole = _whole(path)
        return whole == str(self.root) or whole.startswith(f"{self.root}/")

    def _unlink(self, found: Any, path: Any) -> None:
        if _exists(found) and (not _is_file(found) or _is_protected(found)):
            raise _refused(PermissionError, errno.EACCES, DENIED, "Access is denied", path)
        self._check_free(found, IN_USE)

    def _rename(self, source: Any, target: Any) -> None:
        self._check_free(source, IN_USE)
        if _exists(source) and _exists(target) and not _is_same(source, target):
            raise _refused(FileExistsError, errno.EEXIST, EXISTS, "Cannot create a file when that file already exists", target)

    def _replace(self, source: Any, target: Any) -> None:
        self._check_free(source, IN_USE)
        if _exists(source) and _exists(target) and not _is_same(source, target):
            if not _is_file(target) or _is_protected(target):
                raise _refused(PermissionError, errno.EACCES, DENIED, "Access is denied", target)
            self._check_free(target, DENIED)

    def _link(self, source: Any, target: Any) -> None:
        if _exists(target):
            raise _refused(FileExistsError, errno.EEXIST, EXISTS, "Cannot create a file when that file already exists", target)

    def _symlink(self, source: Any, target: Any) -> None:
        raise _refused(OSError, errno.EINVAL, NO_RIGHT, "A required privilege is not held by the client", target)

    def _check_free(self, path: Any, number: int) -> None:
        """Raise PermissionError if somebody has a file, or a file in a folder, open."""
        path = _whole(path)
        if not _exists(path) or Path(path).name.startswith(TRIED_ON_LINUX):
            return
        opened = [*_open_here(), *(os.fspath(self.real(file)) for file in self.held)]
        if _is_file(path):
            busy = any(_is_same(path, file) for file in opened)
            if self.scanner:
                until = self._scanned.setdefault(status(path).st_ino, time.monotonic() + self.scanner)
                busy |= time.monotonic() < until
        else:
            busy = any(file.startswith(f"{path}/") for file in opened)
        if busy:
            raise _refused(PermissionError, errno.EACCES, number, "The process cannot access the file", path)

    def _opened(self, path: Any, *, writing: bool) -> Any:
        found = self.real(path)
        is_refused = not _is_file(found) or (writing and _is_protected(found))
        if self.is_windows and self._is_here(found) and _exists(found) and is_refused:
            raise _refused(PermissionError, errno.EACCES, DENIED, "Permission denied", path)
        return found

    def _os_open(self) -> Callable[..., Any]:
        function = os.open

        def called(path: Any, flags: int, mode: int = 0o777, **named: Any) -> int:
            writing = bool(flags & (os.O_WRONLY | os.O_RDWR))
            return function(self._opened(path, writing=writing), flags, mode, **named)

        return called

    def _open(self) -> Callable[..., Any]:
        function = io.open

        def called(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
            found = self._opened(file, writing=any(letter in mode for letter in "wxa+"))
            if self.is_windows and "b" not in mode and self._is_here(found):
                given = dict(zip(("buffering", "encoding", "errors", "newline"), more, strict=False)) | named
                if given.get("encoding") in (None, "locale"):
                    given["encoding"] = self.code_page
                if given.get("newline") is None and any(letter in mode for letter in "wxa+"):
                    given["newline"] = "\r\n"
                return function(found, mode, **given)
            return function(found, mode, *more, **named)

        return called


listed, status, target_of = os.listdir, os.stat, os.readlink


def _whole(path: Any) -> str:
    return str(Path.cwd() / os.fsdecode(path))


def _is_same(first: Any, second: Any) -> bool:
    try:
        return os.path.samestat(status(first), status(second))
    except OSError:
        return False


def _exists(path: Any) -> bool:
    try:
        status(path)
    except OSError:
        return False
    return True


def _is_file(path: Any) -> bool:
    return _exists(path) and stat.S_ISREG(status(path).st_mode)


def _is_protected(path: Any) -> bool:
    return _is_file(path) and not status(path).st_mode & stat.S_IWRITE


def _open_here() -> list[str]:
    """Files that this process has open or mapped into its memory."""
    found = []
    for number in listed("/proc/self/fd"):
        try:
            found.append(target_of(f"/proc/self/fd/{number}"))
        except OSError:
            continue  # that of the listing itself
    descriptor = os.open("/proc/self/maps", os.O_RDONLY)
    with os.fdopen(descriptor, encoding="utf-8", errors="surrogateescape") as maps:
        mapped = (line.rstrip("\n").split(maxsplit=5) for line in maps)
        found += [parts[5] for parts in mapped if len(parts) > 5]
    return [path for path in found if path.startswith("/")]


def _checked_sync(sync: Callable[[int], None], file: Any) -> None:
    descriptor = file if isinstance(file, int) else file.fileno()
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    sync(descriptor)


def _refused(kind: type[OSError], number: int, windows: int, text: str, path: Any) -> OSError:
    error = kind(number, text, os.fspath(path))
    error.winerror = windows  # type: ignore[attr-defined]
    return error
