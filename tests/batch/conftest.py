"""A finished batch, which the results of others are compared with."""

import shlex
from pathlib import Path

import pytest

from batch_runs import PROMPTS, RUNS, SIZE, Command, Files, whole
from dev.bootstrap import ROOT, prepare_base


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of a ComfyUI with this pack and the one that fails."""
    folder = tmp_path_factory.mktemp("base")
    prepare_base(folder)
    (folder / "custom_nodes" / "faults").symlink_to(ROOT / "tests" / "support" / "batch_fault_nodes")
    return folder


@pytest.fixture(scope="session")
def command(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    folder = tmp_path_factory.mktemp("given")
    (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    return Command(base, folder)


@pytest.fixture(scope="session")
def finished(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run without faults, by one process."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    done = command(folder)
    assert done.returncode == 0, done.stderr
    assert f"{RUNS * SIZE} images in" in done.stdout
    assert f"python -m uncertainty rank {shlex.quote(str(folder))}" in done.stdout
    assert f"{RUNS}/{RUNS}" in done.stderr
    assert "denoised_variance" in done.stderr  # statistics beside rate and time left
    return folder


@pytest.fixture(scope="session")
def expected(finished: Path) -> Files:
    """What it holds."""
    return whole(finished)
