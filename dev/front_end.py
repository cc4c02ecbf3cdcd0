"""Downloads a newer ComfyUI front-end, which the browser tests use in addition to the bundled one."""

import fcntl
import shutil
import zipfile
from pathlib import Path

from .bootstrap import DEV, RUNTIME, digest, discard, is_whole, logged, python, write_stamp

NEWER = RUNTIME / "front-end"
SOURCE = DEV / "requirements-front-end.txt"
STATIC = "comfyui_frontend_package/static/"


def newer_front_end() -> Path:
    """Folder of the front-end, which is downloaded if it is missing.

    Raises:
        SetupError: the download failed.
    """
    RUNTIME.mkdir(exist_ok=True)
    with (RUNTIME / "front-end.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_whole(NEWER, digest(SOURCE.read_text(encoding="utf-8"))):
            fetch()
    return NEWER / STATIC


def fetch() -> None:
    """Download and unpack the front-end atomically."""
    work = RUNTIME / "front-end.unfinished"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    command = [str(python()), "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    logged([*command, "-r", str(SOURCE), "-d", str(work)], "downloading the newer front-end")
    (wheel,) = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work, [name for name in archive.namelist() if name.startswith(STATIC)])
    wheel.unlink()
    write_stamp(work, digest(SOURCE.read_text(encoding="utf-8")))
    discard(NEWER)
    work.replace(NEWER)
