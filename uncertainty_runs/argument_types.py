"""What the commands share in reading their command line."""

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uncertainty.storage.atomic import WINDOWS

from .terminal import printable_lines


class Parser(argparse.ArgumentParser):
    """A parser whose commands may take ComfyUI's own options behind ``--``, wherever their other arguments stand."""

    takes_comfyui_options = False

    def add_comfyui_options(self) -> None:
        """Take everything behind ``--`` as a list ``options``."""
        self.takes_comfyui_options = True
        self.add_argument("options", nargs="*", metavar="-- OPTIONS", help="ComfyUI's own options, behind --")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Messages repeat what was given."""
        super()._print_message(printable_lines(message), file)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse does it, which by itself would give an empty list to ``options`` before it reaches ``--``."""
        given = list(sys.argv[1:] if args is None else args)
        if not self.takes_comfyui_options:
            return super().parse_known_args(given, namespace)
        end = given.index("--") if "--" in given else len(given)
        parsed, unknown = super().parse_known_args(given[:end], namespace)
        unknown += parsed.options
        parsed.options = given[end + 1 :]
        return parsed, unknown


def started() -> list[str]:
    """How this process was started: by the installed command, as a module, or by the folder of ``uncertainty`` (``__main__``)."""
    start = Path(sys.argv[0])
    if start.is_dir():
        return [sys.executable, str(start)]
    return ["uncertainty"] if start.stem == "uncertainty" else [Path(sys.executable).name, "-m", "uncertainty"]


def copyable(words: Sequence[str]) -> str:
    """A command line to copy into a shell of this system; on Windows into its command prompt, whose quotes are double."""
    return " ".join(map(_quoted, words)) if WINDOWS else shlex.join(words)


def _quoted(word: str) -> str:
    if re.fullmatch(r"[\w.:/\\-]+", word):
        return word
    end = len(word) - len(word.rstrip("\\"))  # a backslash before a quote must be doubled
    inside = word.replace('"', '""')
    return f'"{inside}{word[len(word) - end :]}"'


def not_empty(text: str) -> str:
    """A text of at least one letter: the variable of a shell may be unset."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty: set the variable that it comes from, or leave it out.")
    return text


def path(text: str) -> Path:
    """A path. The empty one would be the current folder."""
    return Path(not_empty(text))


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text}.")
    return int(text)


def seed_range(text: str) -> tuple[int, int]:
    """Two seeds ``A:B`` with A < B, the second excluded."""
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end) <= 1 << 64):
        raise argparse.ArgumentTypeError(f"must be two whole numbers A:B with A < B, such as 0:100, got {text}.")
    return int(first), int(end)
