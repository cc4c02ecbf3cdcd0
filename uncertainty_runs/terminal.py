"""What reaches a terminal: texts without control characters.

Names of files, prompts and texts of other programs may hold escape sequences, which a terminal would obey, and halves of
surrogate pairs, which cannot be encoded.
"""

import sys
import unicodedata

# Control and format characters, among them those that turn the direction of writing; surrogates; line and paragraph separators.
UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Format characters that scripts and emoji need.
JOINERS = "\u200c\u200d"


def printable(text: object) -> str:
    r"""A text on one line, its control characters written as escapes such as ``\x1b``."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(character.encode("unicode_escape").decode() if _is_unsafe(character) else character for character in shown)


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in UNSAFE and character not in JOINERS


def printable_lines(text: object) -> str:
    """The same for a text of several lines, which stay apart."""
    return "\n".join(printable(line) for line in str(text).split("\n"))


def say(text: object) -> None:
    """Print lines for the user."""
    print(printable_lines(text), flush=True)


def warn(text: object) -> None:
    """Print lines on stderr."""
    print(printable_lines(text), file=sys.stderr, flush=True)


def replace_what_cannot_be_shown() -> None:
    """Let characters that the terminal's encoding lacks be written as escapes, rather than end the command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
