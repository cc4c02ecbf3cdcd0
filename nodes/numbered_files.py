"""New files with a number, below ComfyUI's output folder. No file is ever replaced.

ComfyUI's own ``get_save_image_path`` substitutes the placeholders. Its number is not used: it counts before ``%batch_num%`` is
substituted and finds no earlier file if the prefix ends in a slash, so it starts at 1 again and files of earlier runs are lost.
"""

import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import folder_paths

from . import folders

# As ComfyUI's nodes write it: name, number, and whatever follows the second underscore.
NUMBERED = re.compile(r"(.*)_(\d+)_[^_]*")


class NumberedFiles:
    """New files under one prefix.

    Args:
        filename_prefix: a folder below the output folder and the start of the name, with ComfyUI's placeholders.
        width: width of the images in pixels, for ``%width%``.
        height: height of the images in pixels, for ``%height%``.

    Raises:
        ValueError: the prefix is not a valid file name, or is outside the output folder.
        OSError: the folder cannot be created.
    """

    def __init__(self, filename_prefix: str, width: int = 0, height: int = 0) -> None:
        filename_prefix = folders.check_prefix(filename_prefix)
        output = folder_paths.get_output_directory()
        folder, self.name, *_, prefix = folder_paths.get_save_image_path(filename_prefix, output, width, height)
        folders.check_prefix(prefix)  # once more, because placeholders make names longer
        # Links are not resolved, because a subfolder may be on another disk.
        self.folder = Path(os.path.normpath(folder))
        below = Path(os.path.relpath(self.folder, output))
        self.subfolder = below.as_posix() if below.parts else ""
        self._last = _last_numbers(self.folder)

    def write(
        self, suffix: str, write: Callable[[Path], object], placeholders: Mapping[str, object] = MappingProxyType({})
    ) -> dict[str, str]:
        """Write a file under the next number, and return the entry that tells the browser about it.

        Args:
            suffix: such as ``.png``.
            write: writes a file, and raises FileExistsError if there is one.
            placeholders: what the name says of this file, such as ``batch_num``, its place in the batch, for ``%batch_num%``.

        Raises:
            OSError: the file cannot be written.
        """
        name = self.name
        for placeholder, value in placeholders.items():
            name = name.replace(f"%{placeholder}%", str(value))
        key = _key(name)
        while True:
            self._last[key] = number = self._last.get(key, 0) + 1
            file = f"{name}_{number:05}_{suffix}"
            try:
                write(self.folder / file)
            except FileExistsError:
                continue  # another process took the number
            return {"filename": file, "subfolder": self.subfolder, "type": "output"}


def _key(name: str) -> str:
    """One for all names that are one name on some system: Windows and macOS ignore case, macOS the form of accents."""
    return unicodedata.normalize("NFC", name).casefold()


def _last_numbers(folder: Path) -> dict[str, int]:
    """The highest number in use, by name."""
    last: dict[str, int] = {}
    for file in folder.iterdir():
        known = NUMBERED.fullmatch(file.name)
        if known is not None:
            key = _key(known[1])
            last[key] = max(last.get(key, 0), int(known[2]))
    return last
