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
    path = _below(folder, name)
    return None if path is None else Path(path)


def file_below(folder: Path, name: str) -> str | None:
    """Path of a file in a folder; None if the name leads outside or to the folder itself.

    As a text, for names by the million: a ``Path`` interns them, and Python 3.12 never forgets what was interned.
    """
    path, itself = _below(folder, name), str(_below(folder, ""))
    return None if path is None or os.path.normcase(path) == os.path.normcase(itself) else path


def _below(folder: Path, name: str) -> str | None:
    if any(map(is_cut_to_nothing, re.split(r"[/\\]", name))):
        return None
    root = os.path.normpath(folder.absolute())
    path = os.path.normpath(os.path.join(root, name))  # noqa: PTH118
    within, outer = (os.path.normcase(f"{text.rstrip(os.path.sep)}{os.path.sep}") for text in (path, root))
    return path if within.startswith(outer) else None


def is_file(path: Path) -> bool:
    """Whether a regular file is there; no, too, for names that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False
