"""Names of files that come from elsewhere, such as rows of a table, and must stay in a folder."""

import os
from pathlib import Path


def below(folder: Path, name: str) -> Path | None:
    """Path of a name in a folder; None if it leads outside. Links are followed, as ComfyUI does: a subfolder may be a link."""
    root = Path(os.path.normpath(folder.absolute()))
    path = Path(os.path.normpath(root / name))
    return path if path.is_relative_to(root) and path != root else None
