"""A small disk that a test can fill."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_mount = pytest.mark.skipif(sys.platform != "linux" or shutil.which("mount") is None, reason="needs mount")


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a small disk at a folder. It is unmounted even if this process is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"only who may mount a disk can fill one: {done.stderr.strip()}")
    # The shell waits for the end of its input, which comes when this process ends. In a session of its own it survives Ctrl+C.
    line = ["sh", "-c", 'cat > /dev/null; exec umount -l "$0"', str(folder)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, start_new_session=True) as unmounting:
        yield
    assert unmounting.returncode == 0, f"{folder} is still mounted"


def resize(folder: Path, options: str) -> None:
    """Remount the disk with other options."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
