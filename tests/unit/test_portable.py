"""Beside file systems: paths as Windows reads them, consoles with few characters, a Python that searches no other folder."""

import ast
import ntpath
import os
import shlex
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest
from test_rank import save

from dev.bootstrap import ROOT
from made_maps import made
from uncertainty.storage import paths, picture_entry

OUTPUT = ["C:/ComfyUI/output", r"\\nas\art\output", "//nas/art/output", r"\\?\C:\ComfyUI\output"]
INSIDE = {"a.png": "a.png", r"sub\a.png": "sub/a.png", "sub/a.png": "sub/a.png", r"sub\..\a.png": "a.png", "": "."}
OUTSIDE = [
    *(r"..\a.png", "../a.png", r"sub\..\..\a.png", r"sub/..\../a.png", r".. \a.png", "sub/.../a.png", r". .\a.png"),
    *(r"D:\a.png", r"D:a.png", r"\a.png", "/a.png", r"\\nas\other\a.png", "//nas/other/a.png", r"\\?\D:\a.png", r"\\.\D:\a.png"),
]
# What Windows lacks, beside what the tests of the set-up alone need.
MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog", "crypt", "multiprocessing"}
FUNCTIONS = {
    *("fork", "posix_fallocate", "killpg", "setsid", "geteuid", "getuid", "getegid", "getgid", "uname", "mkfifo", "chown"),
    *("statvfs", "nice", "sched_getaffinity", "SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1", "pause", "alarm"),
}
POSIX_PLACES = ("/dev/", "/proc/", "/var/", "/usr/")
PACK = ("uncertainty", "uncertainty_runs", "nodes", "demo", "paper_models")
WORDS = "a ≤ b – 猫 \u2028 σ ±"


class WindowsPath(PureWindowsPath):
    """A path of Windows, which is whole already."""

    def absolute(self) -> "WindowsPath":
        return self


@pytest.fixture
def as_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """``paths`` reads paths as on Windows."""
    monkeypatch.setattr(paths, "Path", WindowsPath)
    monkeypatch.setattr(paths, "os", SimpleNamespace(path=ntpath))


@pytest.mark.parametrize("output", OUTPUT)
@pytest.mark.parametrize("name", INSIDE)
def test_names_inside_on_windows(as_on_windows: None, output: str, name: str) -> None:
    assert paths.below(WindowsPath(output), name) == WindowsPath(output) / INSIDE[name]


@pytest.mark.parametrize("output", OUTPUT)
@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_outside_on_windows(as_on_windows: None, output: str, name: str) -> None:
    assert paths.below(WindowsPath(output), name) is None
    assert paths.file_below(WindowsPath(output), name) is None


def test_the_folder_itself_is_no_file_however_it_is_spelled(as_on_windows: None) -> None:
    assert paths.file_below(WindowsPath(r"C:\ComfyUI\output"), r"..\OUTPUT") is None


def test_the_same_folder_in_another_case_is_inside_on_windows(as_on_windows: None) -> None:
    assert paths.below(WindowsPath("C:/ComfyUI/output"), r"c:\comfyui\OUTPUT\a.png") is not None


def lacking(file: Path) -> list[str]:
    """What a module imports or calls that Windows lacks; what it asks for by ``hasattr`` or ``getattr`` it may do without."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in ("hasattr", "getattr")]
    asked = {ast.literal_eval(call.args[1]) for call in calls if isinstance(call.args[1], ast.Constant)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES and not node.level:
            found.append(str(node.module))
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("os", "signal") and node.attr in FUNCTIONS - asked:
            found.append(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(POSIX_PLACES):
            found.append(node.value)
    return found


@pytest.mark.parametrize("folder", PACK)
def test_the_pack_calls_nothing_that_windows_lacks(folder: str) -> None:
    found = {path.relative_to(ROOT).as_posix(): lacking(path) for path in (ROOT / folder).rglob("*.py")}
    assert found and not {name: what for name, what in found.items() if what}


def test_what_windows_lacks_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        "import os, fcntl\nfrom resource import getrusage\nos.fork()\nhasattr(os, 'getuid') and os.getuid()\nopen('/dev/null')",
        encoding="utf-8",
    )
    assert sorted(lacking(path)) == ["/dev/null", "fcntl", "fork", "resource"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "two words"
    folder.mkdir()
    for place in range(3):
        save(folder / f"{place} {WORDS[:9]}.png", picture_entry.entry(made(3), place))
    return folder


@pytest.mark.parametrize("encoding", ["cp437", "cp932"])
def test_a_console_may_have_few_characters(pictures: Path, encoding: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    start = [sys.executable, "-m", "uncertainty", "rank"]
    for folder, code in ((pictures, 0), (pictures / WORDS, 1)):
        done = subprocess.run([*start, str(folder)], cwd=ROOT, env=environment, capture_output=True, check=False)
        assert done.returncode == code and b"\\u2013" in done.stdout + done.stderr, done.stderr


def test_set_up_tells_a_console_with_few_characters_too() -> None:
    script = "from dev import bootstrap; bootstrap.set_up = lambda layer: print('waiting …'); bootstrap.main([])"
    environment = os.environ | {"PYTHONIOENCODING": "cp437", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0 and rb"waiting \u2026" in done.stdout, done.stderr


def test_set_up_says_that_it_does_not_work_on_windows() -> None:
    script = "import sys, runpy; sys.modules['fcntl'] = None; runpy.run_path('dev/bootstrap.py', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: set-up does not work on Windows: use WSL. The pack itself needs no set-up.\n"


def test_a_python_that_searches_nothing_else_runs_the_folder(pictures: Path, tmp_path: Path) -> None:
    """As ``python_embeded`` by its ``._pth`` file: no current folder, no PYTHONPATH, no packages of the user."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    start = [sys.executable, "-I", str(ROOT / "uncertainty")]
    line = [*start, "rank", "../two words", "--keep", "1", "--move"]
    done = subprocess.run(line, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "moved 2 of 3" in done.stdout
    done = subprocess.run([*start, "batch", "--help"], cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and f"{shlex.quote(start[-1])} batch" in " ".join(done.stdout.split()), done.stderr
