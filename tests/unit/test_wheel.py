"""The wheel: what it holds, what it runs with, and the command it installs."""

import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from test_house import MATHEMATICS, needs, tracked
from test_rank import save

from dev.bootstrap import ROOT
from made_maps import made
from uncertainty.storage import picture_entry


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tracked files, since building leaves its folders beside them."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked():
        if name.endswith((".py", ".toml", ".npz", "LICENSE", "README.md")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    made = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", made, source)
    (path,) = made.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of an environment with torch and numpy only."""
    return environment(tmp_path_factory.mktemp("bare"), wheel, ["torch", "numpy"])


def pip(*arguments: object) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def environment(folder: Path, wheel: Path, packages: Iterable[str]) -> Path:
    """A new environment with links to packages of this one and to what they need; the folder of its programs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for distribution in closure(packages):
        for name in {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}:
            link = site / name
            if not link.is_symlink():
                link.symlink_to(Path(distribution.locate_file(name)).absolute())
    pip("--python", folder / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    return folder / "bin"


def closure(packages: Iterable[str]) -> list[metadata.Distribution]:
    """These and all that they require here."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(packages)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # required on other systems only
        requirements = [text for text in found[name].requires or () if "extra ==" not in text]
        waiting += [re.match(r"[\w.-]+", text)[0] for text in requirements]
    return list(found.values())


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)


def test_torch_and_numpy_are_enough(bare: Path, tmp_path: Path) -> None:
    """All modules that need nothing else are imported, one after the other; colour maps are read from their file."""
    free = [file for file in MATHEMATICS if not needs(file) and file.name != "__main__.py"]
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in free]
    assert {"uncertainty", "uncertainty.metrics", "uncertainty.images.heatmaps", "uncertainty.storage.ledger"} <= set(modules)
    use = "import torch; uncertainty.images.heatmaps.colorize(torch.zeros(1, 2, 2), 'magma')"
    script = f"import importlib.util as u; import {', '.join(modules)}; {use}; assert u.find_spec('PIL') is None"
    done = run(bare / "python", "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_command_explains_itself_and_names_what_it_lacks(bare: Path, tmp_path: Path) -> None:
    for command in ((), ("evaluate", "filtering")):
        done = run(bare / "uncertainty", *command, "--help", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(" ".join(["usage: uncertainty", *command]))
    done = run(bare / "uncertainty", "rank", tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "error: this command needs the package pillow: pip install pillow\n")


def test_the_command_ranks_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    programs = environment(tmp_path / "environment", wheel, ["torch", "numpy", "pillow"])
    pictures, elsewhere = tmp_path / "pictures of today", tmp_path / "elsewhere"
    pictures.mkdir()
    elsewhere.mkdir()
    for place in range(3):
        save(pictures / f"{place}.png", picture_entry.entry(made(3), place))
    done = run(programs / "uncertainty", "rank", pictures, "--keep", "1", "--move", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert "moved 2 of 3" in done.stdout
    assert len(list(pictures.glob("*.png"))) == 1
    as_module = run(programs / "python", "-m", "uncertainty", "rank", "../pictures of today", "--undo", cwd=elsewhere)
    assert as_module.returncode == 0, as_module.stderr
    assert len(list(pictures.glob("*.png"))) == 3
