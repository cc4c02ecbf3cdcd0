"""What the commands share in reading their command line."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def program() -> str:
    """How this process was started: by the installed command or as a module."""
    return "uncertainty" if Path(sys.argv[0]).stem == "uncertainty" else "python -m uncertainty"


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
