"""Files and folders that a command line names, looked at before anything runs."""

import argparse
from pathlib import Path

from .graph_file import EXPORT

# What to give, by the name of the option.
FILES = {"workflow": f"a file that {EXPORT} saved", "prompts": "a text file with one prompt per line"}
FOLDERS = {"reference": "a folder of real pictures"}
MADE = {"output": "a folder, which may be a new one", "out": "a folder, which may be a new one"}


def check_given(arguments: argparse.Namespace) -> None:
    """Raise ValueError if a file or folder is missing, or something else is in its place; the message names the option."""
    for names, refused in ((FILES, _no_file), (FOLDERS, _no_folder), (MADE, _in_the_way)):
        for name, wanted in names.items():
            path = getattr(arguments, name, None)
            if path is not None and (reason := refused(path)):
                raise ValueError(f"--{name} {path}: {reason}; give {wanted}.")


def _no_file(path: Path) -> str:
    if not path.exists():
        return "there is no such file"
    return "it is a folder" if path.is_dir() else ""  # a pipe may be read


def _no_folder(path: Path) -> str:
    if not path.exists():
        return "there is no such folder"
    return "" if path.is_dir() else "it is no folder"


def _in_the_way(path: Path) -> str:
    there = next((each for each in (path, *path.absolute().parents) if each.exists()), None)
    if there is None:
        return f"there is no {path.absolute().anchor}"  # a drive of Windows
    if there.is_dir():
        return ""
    return "it is a file" if there == path else f"{there} is a file"
