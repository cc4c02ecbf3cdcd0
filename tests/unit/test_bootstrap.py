"""Set-up and server start where something is in the way."""

import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from dev import bootstrap, server
from dev.bootstrap import SetupError


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, in a folder with a space and a hyphen."""
    root = tmp_path / "my clone-1"
    (root / ".runtime").mkdir(parents=True)
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(bootstrap, "ROOT", root)
    monkeypatch.setattr(bootstrap, "RUNTIME", root / ".runtime")
    monkeypatch.setattr(bootstrap, "BUNDLED", root / ".runtime" / "ComfyUI")
    monkeypatch.setattr(bootstrap, "BASE", root / ".runtime" / "base")
    monkeypatch.setattr(bootstrap, "LOG", root / ".runtime" / "setup.log")
    return root


def make_python(environment: Path) -> None:
    """What a virtual environment looks like to set-up."""
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").touch()


def words() -> str:
    """What set-up would do now."""
    return "; ".join(text for text, _ in bootstrap.missing_steps())


def test_everything_is_missing_at_first(repository: Path) -> None:
    assert [text.split()[0] for text, _ in bootstrap.missing_steps()] == ["making", "installing", "unpacking", "linking"]


def test_half_made_environment_is_not_whole(repository: Path) -> None:
    make_python(repository / ".venv")
    bootstrap.write_stamp(repository / ".venv", bootstrap.UNFINISHED)
    assert "installing" in words()
    bootstrap.write_stamp(repository / ".venv", bootstrap.environment_made_from())
    assert "installing" not in words()


def test_environment_without_its_python_is_not_whole(repository: Path) -> None:
    (repository / ".venv").mkdir()
    bootstrap.write_stamp(repository / ".venv", bootstrap.environment_made_from())
    assert "installing" in words()


def test_half_made_environment_is_replaced(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_python(repository / ".venv")
    bootstrap.write_stamp(repository / ".venv", bootstrap.UNFINISHED)
    monkeypatch.setattr(bootstrap, "logged", lambda command, doing: None)
    bootstrap.make_environment()
    assert [path.name for path in (repository / ".venv").iterdir()] == [bootstrap.STAMP]


def test_somebody_elses_environment_is_left_alone(repository: Path) -> None:
    make_python(repository / ".venv")
    with pytest.raises(SetupError, match=r"\.venv was not made by this set-up"):
        bootstrap.make_environment()
    assert (repository / ".venv" / "bin" / "python").exists()


def test_half_unpacked_comfyui_is_not_whole(repository: Path) -> None:
    bootstrap.BUNDLED.mkdir()
    (bootstrap.BUNDLED / "main.py").touch()
    assert "unpacking" in words()


def test_link_follows_a_moved_repository(repository: Path) -> None:
    (repository / "__init__.py").touch()
    link = bootstrap.BASE / "custom_nodes" / "uncertainty-sampling"
    link.parent.mkdir(parents=True)
    link.symlink_to(repository.parent / "where it was")
    assert "linking" in words()
    bootstrap.prepare_base(bootstrap.BASE)
    assert link.resolve() == repository
    assert "linking" not in words()


def test_old_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 10, 14))
    with pytest.raises(SystemExit, match=r"is too old: run `make PYTHON=python3\.11"):
        bootstrap.main([])


def test_full_disk_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * 10**9))
    with pytest.raises(SetupError, match=r"2\.0 GB free .* 6 GB needed"):
        bootstrap.check_machine()


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("error: command 'x86_64-linux-gnu-gcc' failed: No such file", "C compiler"),
        ("NewConnectionError('…'): Failed to establish a new connection\nNo matching distribution found for x", "network"),
        ("something else", "see the end of the log"),
    ],
)
def test_failed_command_says_what_to_do(repository: Path, output: str, advice: str) -> None:
    with pytest.raises(SetupError, match=advice) as error:
        bootstrap.logged(["sh", "-c", 'echo "$0"; exit 1', output], "installing")
    assert "\n" not in str(error.value)
    assert "setup.log" in str(error.value)


def test_comfyui_path_without_comfyui(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(repository))
    with pytest.raises(SetupError, match=r"is no ComfyUI \(main\.py is missing\)"):
        bootstrap.comfyui()


def test_own_comfyui_gets_its_own_environment(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = repository / "own"
    own.mkdir()
    for name in ("main.py", "nodes.py", "requirements.txt"):
        (own / name).touch()
    monkeypatch.setenv("COMFYUI_PATH", str(own))
    assert bootstrap.comfyui() == own
    assert bootstrap.environment().name.startswith(".venv-")
    assert "unpacking" not in words()


def test_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind((server.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(server.ServerError, match=f"port {port} cannot be used .*stop what uses it"):
            server.free_port(port)


def test_early_death_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    log = tmp_path / "server.log"
    with pytest.raises(server.ServerError, match=r"ended with code 1 while starting") as error:
        server.ComfyServer(base=tmp_path / "base", log=log).__enter__()
    assert "is no ComfyUI" in str(error.value)
