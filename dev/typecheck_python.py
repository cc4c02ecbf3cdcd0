"""Type check of the Python code: ``python -m dev.typecheck_python`` runs mypy on the mathematics, the commands and the nodes.

The nodes import the mathematics relative to the package that ComfyUI makes of this folder, whatever the folder is called. mypy
therefore sees them through a link named ``pack``.
"""

import subprocess
import sys
from pathlib import Path

from .bootstrap import ROOT, RUNTIME

PACKAGE = "pack"


def linked() -> Path:
    """A folder with a link to this repository, under a name that can be imported."""
    folder = RUNTIME / "typecheck"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / PACKAGE
    if not link.is_symlink() or link.readlink() != ROOT:
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT, target_is_directory=True)
    return folder


def mypy(folder: Path, *what: str) -> int:
    """Check packages (-p) and modules (-m) below a folder; returns the exit code."""
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), *what]
    return subprocess.run(command, cwd=folder, check=False).returncode


def main() -> None:
    """Check everything, also after errors."""
    codes = [mypy(ROOT, "-p", "uncertainty", "-p", "uncertainty_runs"), mypy(linked(), "-m", PACKAGE, "-p", f"{PACKAGE}.nodes")]
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
