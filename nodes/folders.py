"""Paths of this pack's files in ComfyUI's folders, and the inputs that name these files."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..uncertainty.choosing.rejecting import REJECTED
from ..uncertainty.storage.paths import below, is_file
from ..uncertainty.storage.tensor_files import SUFFIX, kind_of
from .file_names import filled

FOLDER = "uncertainty"  # below ComfyUI's output folder
# File systems allow names of 255 bytes; a number, the suffix and ".part" are added to what the user types.
LONGEST = 200
SPACE = 32


def prefix_input(default: str) -> io.String.Input:
    """The input ``filename_prefix``, as in ComfyUI's own save nodes."""
    return io.String.Input(
        "filename_prefix",
        default=default,
        tooltip="Where to save: a folder below ComfyUI's output folder, then the start of the file name. A number is added.",
    )


def file_input(kind: str) -> io.Combo.Input:
    """The input ``file``: a choice of the saved files of one kind, written as ComfyUI writes files in its folders."""
    return io.Combo.Input(
        "file",
        options=_listed(kind),
        tooltip=f"The file to load, from ComfyUI's input folder or output/{FOLDER}. Press R to refresh the list.",
    )


def located(file: str) -> Path:
    """Path of the file that the input ``file`` names.

    Raises:
        ValueError: the file does not exist, or is outside ComfyUI's folders.
    """
    name, folder = folder_paths.annotated_filepath(file)
    path = below(Path(folder or folder_paths.get_input_directory()), name)
    if path is None or not is_file(path):
        raise ValueError(f"file {file!r} is not in ComfyUI's folders: choose one from the list (press R to refresh it).")
    return path


def changed(file: str) -> int:
    """The file's modification time, so that ``fingerprint_inputs`` notices when it is overwritten."""
    return located(file).stat().st_mtime_ns


def running(name: str) -> Path:
    """Path of the calibration file that images are added to; it need not exist yet.

    Raises:
        ValueError: the name is not a valid file name, or is outside the folder.
    """
    name = _check_name("name", name, SUFFIX)
    path = below(Path(folder_paths.get_output_directory(), FOLDER), f"{name}{SUFFIX}")
    if path is None or path.name == SUFFIX:
        raise ValueError(f"name must be the name of a file in output/{FOLDER}, got {name!r}.")
    return path


def check_prefix(filename_prefix: str) -> str:
    """The prefix with its date filled in; also called before sampling, so that no work is lost.

    Raises:
        ValueError: nothing can be saved under the prefix.
    """
    prefix = _check_name("filename_prefix", filename_prefix, "_00001_")
    if below(Path(folder_paths.get_output_directory()), prefix) is None:
        raise ValueError(f"filename_prefix must stay inside ComfyUI's output folder, got {prefix!r}.")
    if any(part.casefold() == REJECTED for part in Path(os.path.normpath(prefix)).parts[:-1]):
        raise ValueError(
            f"filename_prefix must not use a folder named {REJECTED}, which is where rejected images go, got {prefix!r}."
        )
    return prefix


def _check_name(field: str, name: str, ending: str) -> str:
    """The name with its date filled in; ``ending`` follows it in the name of a file."""
    name = filled(field, name, ending=ending)
    if any(ord(letter) < SPACE for letter in name):
        raise ValueError(f"{field} must not contain control characters, got {name!r}.")
    longest = max((len(os.fsencode(part)) for part in Path(name).parts), default=0)
    if longest > LONGEST:
        raise ValueError(f"{field} must have at most {LONGEST} bytes between slashes, got {longest}: shorten it.")
    return name


def _files_below(folder: Path) -> Iterator[Path]:
    """Everything with this pack's suffix in a folder and those below. Folders that cannot be listed are left out.

    ``Path.rglob`` recurses, and ends in an error where folders lie deep or vanish meanwhile: the nodes that list would be gone.
    """
    waiting = [folder]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif entry.name.endswith(SUFFIX):
                    yield Path(entry.path)


def _listed(kind: str) -> list[str]:
    listed = []
    for folder, part, note in (
        (folder_paths.get_output_directory(), FOLDER, " [output]"),
        (folder_paths.get_input_directory(), "", ""),
    ):
        paths = sorted(_files_below(Path(folder, part)))
        listed += [f"{path.relative_to(folder).as_posix()}{note}" for path in paths if kind_of(path) == kind]
    return listed
