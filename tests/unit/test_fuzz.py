"""A few seconds of the fuzzer at every target; `make soak` gives it more."""

import subprocess
import sys

import pytest

from dev.bootstrap import ROOT
from dev.fuzz import NAMES


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found(name: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("atheris", reason="atheris is made for Linux and macOS on x86-64 and ARM")
    seconds = "60" if request.config.getoption("--long") else "3"
    command = [sys.executable, "-m", "dev.fuzz", name, "--seconds", seconds]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{name}: " in done.stdout and "no findings" in done.stdout
