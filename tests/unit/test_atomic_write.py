"""Files that are whole or absent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dev.bootstrap import ROOT
from uncertainty.storage.atomic import atomic_write

pytestmark = pytest.mark.usefixtures("each_desk")

WRITES_FOR_EVER = """
import sys
from pathlib import Path
from uncertainty.storage.atomic import atomic_write
number = 0
while True:
    number += 1
    with atomic_write(Path(sys.argv[1])) as unfinished:
        unfinished.write_text(str(number % 10) * 100_000)
    print(number, flush=True)
"""


def test_what_was_written_is_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for text in ("first", "second"):
        with atomic_write(path) as unfinished:
            unfinished.write_text(text)
        assert path.read_text() == text
        assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")

    def fail(path: Path) -> None:
        with atomic_write(path) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(RuntimeError, match="broken"):
        fail(tmp_path / "b.txt")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.here_alone("other processes are not at the desk")
@pytest.mark.parametrize("writes", [1, 2, 5, 9])
def test_a_killed_process_leaves_a_whole_file(tmp_path: Path, writes: int) -> None:
    path = tmp_path / "a.txt"
    command = [sys.executable, "-c", WRITES_FOR_EVER, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(writes):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    text = path.read_text()
    assert len(text) == 100_000 and len(set(text)) == 1
