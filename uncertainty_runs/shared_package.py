"""One copy of ``uncertainty`` in a process that runs ComfyUI.

ComfyUI loads this pack as a package under a name of its own, in which the nodes import ``<pack>.uncertainty``. Without this
finder a process that has imported ``uncertainty`` already would hold every class twice, and ``isinstance`` would fail between
the two.
"""

import importlib
import re
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import uncertainty

PACKAGE = uncertainty.__name__
PROJECT = re.compile(r'^name = "uncertainty-sampling"$', re.MULTILINE)
VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)


class SharedPackage(MetaPathFinder):
    """Answers imports of ``<pack>.uncertainty`` and its modules with those of this process.

    Attributes:
        refusal: why a pack was not given them, once that has happened. ComfyUI only logs errors of a pack that it loads.
    """

    def __init__(self) -> None:
        self.refusal: str | None = None

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """A spec whose loader gives the module of this process; None for everything outside this pack.

        Raises:
            ImportError: the pack has another version.
        """
        pack_name, dot, name = fullname.partition(f".{PACKAGE}")
        pack = sys.modules.get(pack_name)
        if not dot or (name and name[0] != ".") or pack is None:
            return None
        folder = pack_folder(pack)
        if folder is None:
            return None
        self._check_version(folder)
        return ModuleSpec(fullname, _Existing(PACKAGE + name))

    def _check_version(self, folder: Path) -> None:
        match = VERSION.search((folder / PACKAGE / "__init__.py").read_text(encoding="utf-8"))
        version = match[1] if match else "unknown"
        if version != uncertainty.__version__:
            self.refusal = (
                f"the pack in {folder} has version {version}, this command has version {uncertainty.__version__}: "
                "use the command of that folder, or install the same version."
            )
            raise ImportError(self.refusal)


def pack_folder(module: ModuleType) -> Path | None:
    """The folder of a loaded package if it is this pack, with its nodes; None if it is anything else."""
    for entry in getattr(module, "__path__", ()):
        folder = Path(entry)
        needed = (folder / "nodes" / "__init__.py", folder / PACKAGE / "__init__.py", folder / "pyproject.toml")
        if all(file.is_file() for file in needed) and PROJECT.search(needed[-1].read_text(encoding="utf-8", errors="replace")):
            return folder
    return None


class _Existing(Loader):
    """Gives a module that is imported under another name, and leaves it as it was."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import system has put the other one there
