"""Where this pack's files lie in ComfyUI's folders, and the inputs that name them."""

import os
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from ..uncertainty.storage.tensor_files import SUFFIX, kind_of

FOLDER = "uncertainty"  # below ComfyUI's output folder
# File systems allow names of 255 bytes; a number, the ending and ".part" come behind what is typed.
LONGEST = 200
SPACE = 32


def prefix_input(default: str) -> io.String.Input:
    """``filename_prefix``, as ComfyUI's own nodes that save have it."""
    return io.String.Input(
        "filename_prefix",
        default=default,
        tooltip="Folder below ComfyUI's output folder and beginning of the file name; a number follows.",
    )


def file_input(kind: str) -> io.Combo.Input:
    """``file``: one of the saved files of a kind, named as ComfyUI names files of its folders."""
    return io.Combo.Input(
        "file",
        options=_listed(kind),
        tooltip=f"Files in ComfyUI's input folder and in output/{FOLDER}. Press R to see those saved since.",
    )


def numbered(filename_prefix: str) -> tuple[Path, dict[str, Any]]:
    """A file that does not exist yet, and how ComfyUI tells a browser about it.

    Raises:
        ValueError: no file can be called so, or the prefix leads out of the output folder.
    """
    check_prefix(filename_prefix)
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(filename_prefix, folder_paths.get_output_directory())
    file = f"{name}_{counter:05}_{SUFFIX}"
    return Path(folder) / file, {"files": [{"filename": file, "subfolder": subfolder, "type": "output"}]}


def located(file: str) -> Path:
    """The file that such a ``file`` input names.

    Raises:
        ValueError: there is none.
    """
    name, folder = folder_paths.annotated_filepath(file)
    path = _below(folder or folder_paths.get_input_directory(), name)
    if path is None or not path.is_file():
        raise ValueError(f"file {file!r} is not in ComfyUI's folders: choose one of the list (R refreshes it).")
    return path


def changed(file: str) -> int:
    """When it was last written: what ``fingerprint_inputs`` answers."""
    return located(file).stat().st_mtime_ns


def running(name: str) -> Path:
    """The file of a running calibration, which need not exist.

    Raises:
        ValueError: no file can be called so, or the name leads out of the folder.
    """
    _check_name("name", name)
    path = _below(f"{folder_paths.get_output_directory()}/{FOLDER}", f"{name}{SUFFIX}")
    if path is None or path.name.strip() == SUFFIX:
        raise ValueError(f"name must be a file name for output/{FOLDER}, got {name!r}.")
    return path


def check_prefix(filename_prefix: str) -> None:
    """Raise ValueError where nothing can be saved under a prefix: better said before hours of work than after."""
    _check_name("filename_prefix", filename_prefix)
    if _below(folder_paths.get_output_directory(), filename_prefix) is None:
        raise ValueError(f"filename_prefix must stay below ComfyUI's output folder, got {filename_prefix!r}.")


def _check_name(field: str, name: str) -> None:
    if any(ord(letter) < SPACE for letter in name):
        raise ValueError(f"{field} must be plain text without control characters, got {name!r}.")
    longest = max((len(os.fsencode(part)) for part in Path(name).parts), default=0)
    if longest > LONGEST:
        raise ValueError(f"{field} must not be longer than {LONGEST} bytes between slashes, got {longest}: shorten it.")


def _below(folder: str, name: str) -> Path | None:
    """A path in the folder; None where the name leads out of it."""
    root = Path(os.path.normpath(Path(folder).absolute()))
    path = Path(os.path.normpath(root / name))
    return path if path.is_relative_to(root) else None


def _listed(kind: str) -> list[str]:
    listed = []
    for folder, below, note in (
        (folder_paths.get_output_directory(), FOLDER, " [output]"),
        (folder_paths.get_input_directory(), "", ""),
    ):
        paths = sorted(Path(folder, below).rglob(f"*{SUFFIX}"))
        listed += [f"{path.relative_to(folder).as_posix()}{note}" for path in paths if kind_of(path) == kind]
    return listed
