"""Folders among the system's temporary files: gone when their process is, however it ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dev.bootstrap import ROOT
from uncertainty_runs import temporary
from uncertainty_runs.temporary import LOCK, TemporaryFolder, remove_abandoned

pytestmark = pytest.mark.usefixtures("each_desk")

WAITING = "from uncertainty_runs.temporary import TemporaryFolder as T; t = T(); print(t.path, flush=True); input()"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(temporary.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def started(place: Path) -> tuple[subprocess.Popen[str], Path]:
    environment = os.environ | {"TMPDIR": str(place)}
    line = [sys.executable, "-c", WAITING]
    process = subprocess.Popen(line, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, Path(process.stdout.readline().strip())


@pytest.mark.here_alone("other processes are not at the desk")
def test_the_folder_of_a_killed_process_is_removed_by_the_next(place: Path) -> None:
    (killed, left), (running, used) = started(place), started(place)
    (left / "temp").mkdir()
    (left / "temp" / "picture.png").touch()
    remove_abandoned()
    assert left.is_dir() and used.is_dir()
    killed.kill()
    killed.wait()
    own = TemporaryFolder()
    assert sorted(place.iterdir()) == sorted([used, own.path])
    running.communicate("\n")
    assert not used.exists()
    own.remove()
    assert list(place.iterdir()) == []


@pytest.mark.here_alone("makes links")
def test_folders_of_others_stay(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / LOCK).touch()
    (place / "uncertainty-thesis").mkdir()
    (place / "uncertainty-link").symlink_to(elsewhere)
    (place / "uncertainty-trap").mkdir()
    (place / "uncertainty-trap" / LOCK).symlink_to(elsewhere / "file")
    (place / "uncertainty-file").touch()
    before = sorted(place.iterdir())
    remove_abandoned()
    assert sorted(place.iterdir()) == before
    assert [path.name for path in elsewhere.iterdir()] == [LOCK]
