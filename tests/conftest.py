"""Fixtures for all tests; only those that a test asks for start a ComfyUI."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Last on the path: ComfyUI has a module `nodes` too, and its own must win.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
sys.path.append(str(ROOT))
sys.path.append(str(ROOT / "tests" / "support"))

# One of several pytest processes at once. The tests' models are small: more threads would only take the cores from the others.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from dev.launcher import import_pack, prepare_imports  # noqa: E402
from dev.server import ComfyServer  # noqa: E402


def pytest_configure() -> None:
    """End on SIGTERM as on Ctrl+C, so that fixtures stop what they started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this test suite."""
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew instead of comparing with them")
    parser.addoption("--long", action="store_true", help="every case of tests that take a part of them")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A real server with this pack, working in a folder of its own."""
    folder = tmp_path_factory.mktemp("comfyui")
    with ComfyServer(base=folder, log=folder / "server.log") as running:
        yield running


@pytest.fixture(scope="session")
def comfy_pack(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The pack, imported into this process as ComfyUI imports it; ComfyUI's own modules can be imported from then on.

    A module of the pack is ``importlib.import_module(f"{comfy_pack.__name__}.nodes.sampling.ksampler")``.
    """
    prepare_imports()
    import comfy.options

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["main.py", "--cpu", "--base-directory", str(tmp_path_factory.mktemp("comfyui"))])
        comfy.options.enable_args_parsing()
        import comfy.cli_args  # reads the command line now

    return import_pack()
