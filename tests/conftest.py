"""Fixtures for all tests. A ComfyUI starts only for tests that ask for one."""

import importlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Last on the path: ComfyUI also has a module `nodes`, which must be found first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
sys.path.append(str(ROOT))
sys.path.append(str(ROOT / "tests" / "support"))

# One of several pytest processes. The tests' models are too small for more threads, which would only compete for the cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from desks import Desk  # noqa: E402
from dev.launcher import import_pack, prepare_imports  # noqa: E402
from dev.server import ComfyServer  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    """End on SIGTERM as on Ctrl+C, so that fixtures stop what they started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line("markers", "here_alone(reason): not at the desks of the fixture each_desk")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this test suite."""
    parser.addoption("--update-golden", action="store_true", help="write the golden files instead of comparing with them")
    parser.addoption("--long", action="store_true", help="run every case of tests that otherwise run a part of them")


@pytest.fixture(params=["here", "windows", "macos"])
def each_desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk | None]:
    """Here, and with the file functions of this process as they are on Windows and macOS, below ``tmp_path``."""
    if request.param == "here":
        yield None
        return
    if alone := request.node.get_closest_marker("here_alone"):
        pytest.skip(alone.args[0])
    if "comfy_pack" in request.fixturenames:  # whose modules must be there to be changed
        importlib.import_module(f"{request.getfixturevalue('comfy_pack').__name__}.uncertainty.storage.atomic")
    with Desk(tmp_path, request.param).at_it() as desk:
        yield desk


@pytest.fixture
def windows(tmp_path: Path) -> Iterator[Desk]:
    """The file functions of this process as they are on Windows, below ``tmp_path``."""
    with Desk(tmp_path, "windows").at_it() as desk:
        yield desk


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A real server with this pack, in its own base folder."""
    folder = tmp_path_factory.mktemp("comfyui")
    with ComfyServer(base=folder, log=folder / "server.log") as running:
        yield running


@pytest.fixture(scope="session")
def comfy_pack(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The pack, imported into this process as ComfyUI imports it. Afterwards ComfyUI's own modules can be imported too.

    A module of the pack is ``importlib.import_module(f"{comfy_pack.__name__}.nodes.sampling.ksampler")``.
    """
    prepare_imports()
    import comfy.options

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["main.py", "--cpu", "--base-directory", str(tmp_path_factory.mktemp("comfyui"))])
        comfy.options.enable_args_parsing()
        import comfy.cli_args  # reads the command line when it is imported

    return import_pack()
