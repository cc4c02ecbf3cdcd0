"""Batches as a user starts them, and what their folders hold."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from dev.bootstrap import ROOT, comfyui
from patience import until
from uncertainty.storage.tensor_files import load_map
from uncertainty_runs.rows import Rows
from uncertainty_runs.run_folder import ROWS, read

PROMPTS = ("cat face", "pizza")
RUNS, SIZE = 8, 2
Files = dict[str, bytes]


class Command:
    """The command line, with a workflow that fails once, or never."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.base, self.folder = base, folder
        self.happened = folder / "happened"

    def line(self, output: Path, *options: str, fault: str = "none") -> list[str]:
        graph = json.loads((ROOT / "dev" / "best_of_16.api.json").read_text())
        graph = {number: graph[number] for number in ("1", "2", "3", "4", "5", "6")}
        graph["4"]["inputs"] |= {"width": 256, "height": 256, "batch_size": SIZE}
        graph["5"]["inputs"] |= {"steps": 6, "samples": 2, "model": ["fails", 0]}
        graph["fails"] = {"class_type": "FailsOnce", "inputs": {"model": ["1", 0], "fault": fault, "call": 10}}
        workflow = self.folder / f"{fault}.json"
        workflow.write_text(json.dumps(graph))
        given = ["--workflow", str(workflow), "--prompts", str(self.folder / "prompts.txt"), "--seeds", f"5:{5 + RUNS // 2}"]
        own = ["--comfyui", str(comfyui()), "--maps", "sum", "--output", str(output)]
        python = [sys.executable, "-m", "uncertainty", "batch"]
        return [*python, *given, *own, *options, "--", "--base-directory", str(self.base)]

    def options(self, slow: float = 0.0) -> dict[str, Any]:
        # One thread for each worker, so that one of two and the only one round alike.
        environment = os.environ | {"PYTHONPATH": "dev/site", "OMP_NUM_THREADS": "1"}
        environment |= {"BATCH_FAULT": str(self.happened), "BATCH_SLOW": str(slow)}
        return {"cwd": ROOT, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}

    def __call__(self, output: Path, *options: str, fault: str = "none") -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        self.happened.unlink(missing_ok=True)
        with self.started(self.line(output, *options, fault=fault)) as process:
            return ended(process, output)

    @contextmanager
    def running(self, output: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
        """Start it, slowly, and wait until it has drawn something."""
        with self.started(self.line(output, *options), slow=0.1) as process:
            until(
                lambda: len(list(output.rglob("*.png"))) >= SIZE + 1,
                alive=lambda: process.poll() is None,
                movement=lambda: files(output),
            )
            yield process

    @contextmanager
    def started(self, line: list[str], slow: float = 0.0) -> Iterator[subprocess.Popen[str]]:
        """A process, which is gone in the end with all that it has started."""
        process = subprocess.Popen(line, **self.options(slow))
        try:
            yield process
        finally:
            family = [process, *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else [process]
            for one in family:
                one.kill()
            process.communicate()


def ended(process: subprocess.Popen[str], output: Path) -> subprocess.CompletedProcess[str]:
    """Wait for its end, as long as files appear."""
    until(lambda: process.poll() is not None, movement=lambda: files(output))
    return subprocess.CompletedProcess(process.args, process.returncode, *process.communicate())


def files(folder: Path) -> int:
    """How many lie below it."""
    return len(list(folder.rglob("*")))


def whole(folder: Path) -> Files:
    """Every image and map of a finished folder; each has one row, or one a place, and nothing else lies about."""
    images = sorted(read(folder, Rows(folder / ROWS)), key=lambda image: (image.number, image.place))
    assert [(image.number, image.place) for image in images] == [(n, p) for n in range(RUNS) for p in range(SIZE)]
    assert [(image.prompt, image.seed) for image in images[::SIZE]] == [(PROMPTS[n % 2], 5 + n // 2) for n in range(RUNS)]
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in (folder / "images").rglob("*.png")}
    assert found.keys() == {image.path.relative_to(folder).as_posix() for image in images}
    maps = {path.relative_to(folder).as_posix(): path.read_bytes() for path in (folder / "maps").rglob("*.safetensors")}
    assert len(maps) == RUNS
    assert not list(folder.rglob("*.part"))
    measured = load_map(folder / "maps" / "00000" / "0000003.safetensors")
    for place in range(SIZE):
        assert images[3 * SIZE + place].scores["denoised_variance"][0] == float(measured.score("denoised_variance").value[place])
    return found | maps
