"""Set-up and the start of the server when something is in the way."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dev import bootstrap, server
from dev.bootstrap import BUNDLED, DEV, LAYERS, ROOT, SetupError, comfyui
from patience import until


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


def make_environment(repository: Path, *layers: str) -> Path:
    """What a virtual environment with these layers looks like to set-up."""
    environment = repository / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").touch()
    (environment / "lib" / "python3" / "site-packages").mkdir(parents=True)
    bootstrap.write_stamp(environment, bootstrap.digest(bootstrap.PIP))
    for layer in layers:
        bootstrap.write_stamp(environment, bootstrap.layer_made_from(layer), bootstrap.layer_stamp(layer))
    return environment


def steps(layer: str) -> list[str]:
    """What set-up would do now: the first word of each step, and the name of a layer."""
    words = [text.split() for text, _ in bootstrap.missing_steps(layer)]
    return [" ".join([first, *(word for word in rest if word in LAYERS)]) for first, *rest in words]


def has_ended(process_id: int) -> bool:
    """Whether a process is gone, or dead and not yet collected by its new parent."""
    try:
        return bool(psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_everything_is_missing_at_first(repository: Path) -> None:
    assert steps("demo") == ["making", "installing demo", "unpacking", "linking"]
    assert steps("test") == ["making", "installing demo", "installing evidence", "installing test", "unpacking", "linking"]


def test_layers_are_added_to_what_is_there(repository: Path) -> None:
    make_environment(repository, "demo")
    assert steps("demo") == ["unpacking", "linking"]
    assert steps("evidence")[:2] == ["installing evidence", "unpacking"]
    assert steps("test")[:3] == ["installing evidence", "installing test", "unpacking"]


def test_interrupted_layer_is_finished(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = make_environment(repository, "demo", "evidence") / "lib" / "python3" / "site-packages"
    for name in ("complete", "half"):
        (packages / f"{name}-1.0.dist-info").mkdir()
        (packages / f"{name}-1.0.dist-info" / "METADATA").touch()
    (packages / "complete-1.0.dist-info" / "INSTALLER").write_text("pip")
    (packages / "torch" / "test").mkdir(parents=True)
    monkeypatch.setattr(bootstrap, "logged_together", lambda commands, doing: None)
    bootstrap.install_layer("test")
    assert sorted(path.name for path in packages.iterdir()) == ["complete-1.0.dist-info", "torch"]
    assert not (packages / "torch" / "test").exists()
    assert steps("test") == ["unpacking", "linking"]


def test_changed_requirements_replace_the_environment(repository: Path) -> None:
    environment = make_environment(repository, *LAYERS)
    bootstrap.write_stamp(environment, "other requirements", bootstrap.layer_stamp("evidence"))
    assert steps("demo") == ["unpacking", "linking"]  # does not need the changed layer
    assert steps("test")[:4] == ["making", "installing demo", "installing evidence", "installing test"]


def test_half_made_environment_is_replaced(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = make_environment(repository, "demo")
    bootstrap.write_stamp(environment, bootstrap.UNFINISHED)
    assert steps("demo")[:2] == ["making", "installing demo"]
    monkeypatch.setattr(bootstrap, "logged", lambda command, doing: None)
    bootstrap.make_environment()
    assert [path.name for path in environment.iterdir()] == [bootstrap.STAMP]


def test_environment_without_its_python_is_replaced(repository: Path) -> None:
    (make_environment(repository, "demo") / "bin" / "python").unlink()
    assert steps("demo")[:2] == ["making", "installing demo"]


def test_somebody_elses_environment_is_left_alone(repository: Path) -> None:
    (make_environment(repository) / bootstrap.STAMP).unlink()
    with pytest.raises(SetupError, match=r"\.venv was not made by this set-up"):
        bootstrap.make_environment()
    assert (repository / ".venv" / "bin" / "python").exists()


def test_half_unpacked_comfyui_is_replaced(repository: Path) -> None:
    bootstrap.BUNDLED.mkdir()
    (bootstrap.BUNDLED / "main.py").touch()
    assert "unpacking" in steps("demo")


def test_link_follows_a_moved_repository(repository: Path) -> None:
    (repository / "__init__.py").touch()
    link = bootstrap.BASE / "custom_nodes" / "uncertainty-sampling"
    link.parent.mkdir(parents=True)
    link.symlink_to(repository.parent / "where it was")
    assert "linking" in steps("demo")
    bootstrap.prepare_base(bootstrap.BASE)
    assert link.resolve() == repository
    assert "linking" not in steps("demo")


def test_old_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 10, 14))
    with pytest.raises(SystemExit, match=r"is too old: run `make PYTHON=python3\.11"):
        bootstrap.main([])


def test_full_disk_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * 10**9))
    with pytest.raises(SetupError, match=r"2\.0 GB free .* 6 GB needed"):
        bootstrap.check_machine(["demo"])
    with pytest.raises(SetupError, match=r"2\.0 GB free .* 3 GB needed"):
        bootstrap.check_machine(["evidence", "test"])


def test_python_without_its_pip_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bootstrap.bundled_pip()
    monkeypatch.setattr(bootstrap, "bundled_pip", lambda: None)
    with pytest.raises(SetupError, match=r"install its venv module"):
        bootstrap.check_machine(["demo"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("test", None)),
        (["--layer", "demo"], ("demo", None)),
        (["run", "-m", "pytest", "--layer", "x"], ("test", ["-m", "pytest", "--layer", "x"])),
        (["--layer", "evidence", "run"], ("evidence", [])),
    ],
)
def test_command_line(arguments: list[str], expected: tuple[str, list[str] | None]) -> None:
    assert bootstrap.parsed(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "complaint"), [(["-m", "pytest"], "unrecognized"), (["--layer", "all"], "demo"), (["go"], "go")]
)
def test_wrong_command_line(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bootstrap.parsed(arguments)
    assert complaint in capsys.readouterr().err


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


def test_failed_command_stops_the_others(repository: Path) -> None:
    sleeper = repository / "sleeper"
    sleep = ["sh", "-c", 'echo $$ > "$0.part" && mv "$0.part" "$0" && exec sleep 600', str(sleeper)]
    fail = ["sh", "-c", 'until [ -e "$0" ]; do sleep 0.05; done; exit 1', str(sleeper)]
    with pytest.raises(SetupError, match="installing failed"):
        bootstrap.logged_together([sleep, fail], "installing")
    assert has_ended(int(sleeper.read_text()))


def test_killed_setup_keeps_its_lock_until_pip_ends(tmp_path: Path) -> None:
    script = """if True:
        import os, sys
        from pathlib import Path
        from dev import bootstrap
        bootstrap.RUNTIME = Path(sys.argv[1])
        bootstrap.LOG = bootstrap.RUNTIME / "setup.log"
        command = ["sh", "-c", 'echo $$ > "$0.part" && mv "$0.part" "$0" && exec sleep 600', str(bootstrap.RUNTIME / "pip")]
        bootstrap.missing_steps = lambda layer: [("installing", lambda: bootstrap.logged(command, "installing"))]
        bootstrap.missing_layers = lambda layer: ()
        bootstrap.set_up("demo")
    """
    setup = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT)
    until((tmp_path / "pip").exists, alive=lambda: setup.poll() is None)
    setup.kill()
    setup.wait()
    pip = int((tmp_path / "pip").read_text())
    try:
        with (tmp_path / "lock").open("w") as lock:
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.kill(pip, signal.SIGTERM)
            fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        if not has_ended(pip):
            os.kill(pip, signal.SIGKILL)


def named(file: str) -> set[str]:
    """The packages that a requirement file names."""
    lines = [line.partition("#")[0].strip() for line in (DEV / file).read_text().splitlines()]
    return {canonicalize_name(Requirement(line).name) for line in lines if line}


def with_dependencies(names: set[str]) -> set[str]:
    """The packages and everything that they depend on, as far as installed."""
    found: set[str] = set()
    while names:
        name = names.pop()
        try:
            needed = [Requirement(line) for line in distribution(name).requires or []]
        except PackageNotFoundError:  # for another platform
            continue
        found.add(name)
        here = {canonicalize_name(each.name) for each in needed if not each.marker or each.marker.evaluate({"extra": ""})}
        names |= here - found
    return found


@pytest.mark.skipif(comfyui() != BUNDLED, reason="another ComfyUI brings its own list of requirements")
def test_list_of_comfyui_is_complete_and_apart_from_the_base() -> None:
    base, listed = with_dependencies(named("requirements-base.txt")), named("requirements-demo.txt")
    assert base & listed == set()  # two processes install them at the same time
    assert with_dependencies(set(listed)) - base == listed


@pytest.mark.skipif(comfyui() != BUNDLED, reason="another ComfyUI brings its own list of requirements")
def test_comfyui_requirements_are_all_listed() -> None:
    lines = [line.partition("#")[0].strip() for line in (BUNDLED / "requirements.txt").read_text().splitlines()]
    wanted = {canonicalize_name(Requirement(line).name) for line in lines if line}
    listed = named("requirements-base.txt") | with_dependencies(named("requirements-base.txt")) | named("requirements-demo.txt")
    assert wanted - listed - named("requirements-test-bundled.txt") == {"torchaudio"}


def test_installed_packages_fit_each_other() -> None:
    check = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout


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
    assert "unpacking" not in steps("demo")
    tools = {name for file in bootstrap.requirements("test") for name in named(file.name)}
    assert not any(name.startswith("comfyui-") for name in tools)  # its own list has them, in other versions


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


class FakeClock:
    """Time that passes only while the server is waited for; the log grows for the first hour."""

    def __init__(self, log: Path) -> None:
        self.now, self.log = 0.0, log

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += 60
        if self.now <= 3600:
            with self.log.open("a") as log:
                log.write("importing\n")


def test_slow_start_is_waited_for_and_a_hanging_one_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starting = server.ComfyServer(log=tmp_path / "server.log")
    starting.log.touch()
    starting.url = f"http://{server.HOST}:{server.free_port()}"
    monkeypatch.setattr(starting, "_process", SimpleNamespace(poll=lambda: None), raising=False)
    clock = FakeClock(starting.log)
    monkeypatch.setattr(server, "time", clock)
    with pytest.raises(server.ServerError, match=rf"did not answer for {server.SILENCE_SECONDS} s"):
        starting._wait()
    assert clock.now >= 3600 + server.SILENCE_SECONDS


def test_server_ends_with_a_killed_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "my ComfyUI"
    fake.mkdir()
    for name in ("nodes.py", "requirements.txt"):
        (fake / name).touch()
    (fake / "main.py").write_text(
        """if True:
        import os, pathlib, subprocess, time
        child = subprocess.Popen(["sleep", "600"])
        folder = pathlib.Path(__file__).parent
        (folder / "part").write_text(f"{os.getpid()} {child.pid}")
        (folder / "part").rename(folder / "started")
        time.sleep(600)
    """
    )
    monkeypatch.setenv("COMFYUI_PATH", str(fake))
    script = "import sys, pathlib; from dev.server import ComfyServer; base = pathlib.Path(sys.argv[1]); "
    script += "ComfyServer(base=base, log=base.parent / 'server.log').__enter__()"
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "base")], cwd=ROOT)
    until((fake / "started").exists, alive=lambda: parent.poll() is None)
    parent.kill()
    parent.wait()
    started = [int(process_id) for process_id in (fake / "started").read_text().split()]
    until(lambda: all(has_ended(process_id) for process_id in started))
