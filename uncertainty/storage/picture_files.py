"""The parts of a picture file: chunks of PNG and WebP, segments of JPEG. Nothing is decoded.

Sources: PNG specification §5, *WebP Container Specification*, ITU-T T.81 Annex B.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO

FORMATS = ("png", "webp", "jpeg")
SUFFIXES = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}
"""The suffix of a new file, by format."""
PICTURES = (*SUFFIXES.values(), ".jpeg")
"""The suffixes of files that may hold scores."""
NOTES = "._"
"""How names of files begin in which macOS keeps notes about another file, on memory cards and in networks: ``._a.png``."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
RIFF_HEAD = 12  # bytes: "RIFF", length, "WEBP"
JPEG_START = b"\xff\xd8"
APP1, PIXELS = b"\xff\xe1", b"\xff\xda"
LONGEST_SEGMENT = 0xFFFF  # with the two bytes of its length


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file.

    Attributes:
        kind: type of a chunk, or marker of a segment.
        start: where the part begins in the file.
        content: where its content begins.
        length: bytes of content.
        end: where the next part begins.
    """

    kind: bytes
    start: int
    content: int
    length: int
    end: int


def has_picture_name(path: PurePath) -> bool:
    """Whether a file is named as a picture that may hold scores."""
    return path.suffix.lower() in PICTURES and not path.name.startswith(NOTES)


def format_of(file: BinaryIO) -> str | None:
    """The format that a file begins like; None if it is of none of ``FORMATS``."""
    file.seek(0)
    head = file.read(RIFF_HEAD)
    if head.startswith(PNG_SIGNATURE):
        return "png"
    if head.startswith(b"RIFF") and head.endswith(b"WEBP"):
        return "webp"
    return "jpeg" if head.startswith(JPEG_START) else None


def parts(file: BinaryIO, most: int) -> Iterator[Part]:
    """The parts of a file; of a JPEG file, those before its pixels.

    Args:
        file: a file of one of ``FORMATS``.
        most: largest number of parts.

    Raises:
        ValueError: the file is incomplete, is of another format, or has more parts.
    """
    each = {"png": _png, "webp": _webp, "jpeg": _jpeg}.get(format_of(file) or "")
    if each is None:
        raise ValueError("is not a PNG, WebP or JPEG file")
    size = file.seek(0, os.SEEK_END)
    for number, part in enumerate(each(file, size)):
        if number == most:
            raise ValueError(f"has more than {most} parts")
        if part.end > size:
            raise ValueError("is incomplete")
        yield part


def content_of(file: BinaryIO, part: Part) -> bytes:
    """The content of a part."""
    file.seek(part.content)
    return file.read(part.length)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a WebP file."""
    return kind + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2)


def segment(content: bytes) -> bytes:
    """An application segment of a JPEG file; raise ValueError if it is too long."""
    length = len(content) + 2
    if length > LONGEST_SEGMENT:
        raise ValueError(f"would need a segment of {length} bytes, more than {LONGEST_SEGMENT}")
    return APP1 + length.to_bytes(2, "big") + content


def _png(file: BinaryIO, size: int) -> Iterator[Part]:
    end, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        head = _head(file, end, 8)
        start, length, kind = end, int.from_bytes(head[:4], "big"), head[4:]
        end = start + length + 12  # with the checksum
        yield Part(kind, start, start + 8, length, end)


def _webp(file: BinaryIO, size: int) -> Iterator[Part]:
    end = RIFF_HEAD
    stop = 8 + int.from_bytes(_head(file, 4, 4), "little")
    if stop > size:
        raise ValueError("is incomplete")
    while end < stop:
        head = _head(file, end, 8)
        start, length = end, int.from_bytes(head[4:], "little")
        end = start + 8 + length + length % 2
        yield Part(head[:4], start, start + 8, length, end)


def _jpeg(file: BinaryIO, size: int) -> Iterator[Part]:
    end, kind = len(JPEG_START), b""
    while kind != PIXELS:
        head = _head(file, end, 4)
        start, kind, length = end, head[:2], int.from_bytes(head[2:], "big")
        if kind[0] != PIXELS[0] or length < 2:
            raise ValueError("is damaged")
        end = start + 2 + length
        yield Part(kind, start, start + 4, length - 2, end)


def _head(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    head = file.read(length)
    if len(head) < length:
        raise ValueError("is incomplete")
    return head
