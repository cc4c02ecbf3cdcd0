"""Type check of all Python that is installed: ``python -m dev.typecheck_python`` runs mypy.

The nodes import relatively from the pack's root, so mypy needs to see the pack as a package. The folder of a clone may have a
name that no package can have; a link with a plain name stands in for it.
"""

import os
import subprocess
import sys

from .bootstrap import ROOT, RUNTIME

NAME = "uncertainty_sampling"


def check() -> int:
    """Run it; returns its exit code."""
    folder = RUNTIME / "typing"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / NAME
    if not link.is_symlink() or link.readlink() != ROOT:
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT, target_is_directory=True)
    mypy = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    outside = subprocess.run([*mypy, "-p", "uncertainty", "-p", "uncertainty_runs"], cwd=ROOT, check=False).returncode
    environment = {**os.environ, "MYPYPATH": str(folder)}
    parts = ["-m", NAME, "-p", f"{NAME}.nodes", "-p", f"{NAME}.paper_models"]
    inside = subprocess.run([*mypy, *parts], cwd=folder, env=environment, check=False).returncode
    return outside or inside


if __name__ == "__main__":
    sys.exit(check())
