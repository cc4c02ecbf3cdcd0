"""Names of files that come from elsewhere, such as inputs of nodes or rows of a table, and must stay in a folder."""

import os
import re
from pathlib import Path

FORBIDDEN = '<>:"|?*'
"""Characters that Windows forbids in names. A colon would hide a file behind another one."""


def is_cut_to_nothing(name: str) -> bool:
    """Whether a name, without its folders, is of dots and spaces alone, which Windows cuts off at the end of names."""
    return name not in ("", ".", "..") and not name.strip(". ")


def below(folder: Path, name: str) -> Path | None:
    """Path of a name in a folder, or the folder itself; None if the name leads outside.

    Links are followed, as ComfyUI does: a subfolder may be a link. Names of dots and spaces are refused: for Windows, ``.. ``
    leads outside.
    """
    if any(map(is_cut_to_nothing, re.split(r"[/\\]", name))):
        return None
    root = Path(os.path.normpath(folder.absolute()))
    path = Path(os.path.normpath(root / name))
    return path if path.is_relative_to(root) else None


def file_below(folder: Path, name: str) -> Path | None:
    """Path of a file in a folder; None if the name leads outside or to the folder itself."""
    path = below(folder, name)
    return None if path == below(folder, "") else path


def is_file(path: Path) -> bool:
    """Whether a regular file is there; no, too, for names that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False
