"""Where ComfyUI loads the pack in a process that has imported ``uncertainty`` already."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import uncertainty
import uncertainty.maps
from dev.bootstrap import ROOT
from uncertainty_runs.shared_package import SharedPackage, pack_folder


@pytest.fixture
def shared() -> Iterator[SharedPackage]:
    """Installed, and gone afterwards with all that was imported by it."""
    before, finder = set(sys.modules), SharedPackage()
    sys.meta_path.insert(0, finder)
    yield finder
    sys.meta_path.remove(finder)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def loaded(folder: Path) -> ModuleType:
    """A package as ComfyUI loads it: its path is its name. Its code is not run."""
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    sys.modules[name] = importlib.util.module_from_spec(spec)
    return sys.modules[name]


def pack(folder: Path, version: str, project: str = "uncertainty-sampling") -> Path:
    """The folder of a pack of some version."""
    for package in (".", "nodes", "uncertainty"):
        (folder / package).mkdir(parents=True, exist_ok=True)
        (folder / package / "__init__.py").touch()
    (folder / "uncertainty" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    (folder / "uncertainty" / "maps.py").touch()
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{project}"\n')
    return folder


@pytest.mark.parametrize("linked", [False, True])
def test_modules_of_the_pack_are_those_of_the_process(linked: bool, shared: SharedPackage, tmp_path: Path) -> None:
    folder = tmp_path / "uncertainty-sampling"
    if linked:
        folder.symlink_to(ROOT)
    else:
        pack(folder, uncertainty.__version__)
    name, before = loaded(folder).__name__, vars(uncertainty.maps).copy()
    maps = importlib.import_module(f"{name}.uncertainty.maps")
    assert maps is uncertainty.maps
    assert sys.modules[f"{name}.uncertainty"] is uncertainty
    assert vars(maps) == before and maps.__name__ == maps.__spec__.name == "uncertainty.maps"
    assert shared.refusal is None
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{name}.uncertainty.none_such")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{name}.uncertainty_of_others")


def test_another_version_is_refused(shared: SharedPackage, tmp_path: Path) -> None:
    name = loaded(pack(tmp_path / "pack", "9.9.9")).__name__
    with pytest.raises(ImportError, match=rf"version 9\.9\.9, this command has version {uncertainty.__version__}"):
        importlib.import_module(f"{name}.uncertainty.maps")
    assert shared.refusal is not None and str(tmp_path / "pack") in shared.refusal


def test_other_packs_keep_their_own(shared: SharedPackage, tmp_path: Path) -> None:
    other = loaded(pack(tmp_path / "other", uncertainty.__version__, project="uncertainty-of-others"))
    assert pack_folder(other) is None
    assert importlib.import_module(f"{other.__name__}.uncertainty.maps") is not uncertainty.maps
    assert shared.refusal is None
