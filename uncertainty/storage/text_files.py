"""Reading a text file in the same way everywhere: UTF-8, whatever the locale says, and lines that end in line breaks.

``str.splitlines`` also splits at vertical tabs, form feeds and some separators of Unicode, which stand inside prompts.
"""

import re
from pathlib import Path

# Byte order marks. The longer come first: one of UTF-32 begins with one of UTF-16.
MARKS = {
    b"\xef\xbb\xbf": "utf-8",
    b"\xff\xfe\0\0": "utf-32-le",
    b"\0\0\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}
LINE_BREAK = re.compile(r"\r\n|\r|\n")


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark, without the mark. Line breaks stay as they are.

    Raises:
        OSError: it cannot be read.
        ValueError: it is in another encoding.
    """
    content = path.read_bytes()
    mark, encoding = next(((mark, name) for mark, name in MARKS.items() if content.startswith(mark)), (b"", "utf-8"))
    content = content[len(mark) :]
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        found = content[error.start : error.start + 1].hex()
        raise ValueError(
            f"{path} is not text in UTF-8: byte {len(mark) + error.start} is 0x{found} ({error.reason}). Save the file as UTF-8."
        ) from error
    if "\0" in text:
        raise ValueError(f"{path} is not text in UTF-8: it holds null characters, as other encodings do. Save the file as UTF-8.")
    return text


def lines(text: str) -> list[str]:
    """The lines of a text, which end in a line feed, a carriage return or both."""
    return LINE_BREAK.split(text)
