"""Type check of the browser code: ``python -m dev.typecheck`` runs tsc on ``web/`` with ComfyUI's published types."""

import fcntl
import os
import shutil
import subprocess
import sys

from .bootstrap import DEV, RUNTIME, SetupError, digest, discard, environment, is_whole, logged, write_stamp

TYPES = RUNTIME / "types"
SOURCES = ("package.json", "package-lock.json")


def made_from() -> str:
    """Digest of the files that define the packages to install."""
    return digest(*((DEV / "types" / name).read_text(encoding="utf-8") for name in SOURCES))


def install() -> None:
    """Install the compiler and the types in the versions of the lock file, unless they are installed.

    Raises:
        SetupError: the installation failed.
    """
    RUNTIME.mkdir(exist_ok=True)
    with (RUNTIME / "types.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_whole(TYPES, made_from()):
            return
        print("installing the type checker of the browser code …", flush=True)
        work = RUNTIME / "types.unfinished"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        for name in SOURCES:
            shutil.copy(DEV / "types" / name, work)
        npm = [str(environment() / "bin" / "npm"), "ci", "--prefix", str(work), "--ignore-scripts", "--no-audit", "--no-fund"]
        logged(npm, "installing the type checker")
        write_stamp(work, made_from())
        discard(TYPES)
        work.replace(TYPES)


def check() -> int:
    """Run the compiler and return its exit code."""
    binaries = environment() / "bin"
    compiler = TYPES / "node_modules" / "typescript" / "bin" / "tsc"
    command = [str(binaries / "node"), str(compiler), "--project", str(DEV / "types" / "tsconfig.json")]
    return subprocess.run(command, env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}, check=False).returncode


if __name__ == "__main__":
    try:
        install()
    except SetupError as problem:
        sys.exit(f"error: {problem}")
    sys.exit(check())
