"""Texts in the EXIF block of WebP and JPEG files, as ComfyUI's SaveAnimatedWEBP writes them: ``name:text`` in one field each.

ComfyUI's page reads them from WebP files. A segment of a JPEG file holds 64 KB; a longer block goes on in the next segments, as
ExifTool writes it. It and Pillow put the block together again; other programs read the first segment.
"""

from collections.abc import Mapping
from typing import BinaryIO, Literal

from PIL import Image

from .picture_files import APP1, LONGEST_SEGMENT, content_of, format_of, parts, segment

HEAD = b"Exif\0\0"
# As in ComfyUI. Its next fields would be shown as the picture's caption, so all other texts are in fields for private use.
FIELDS = {"prompt": 0x0110, "workflow": 0x010F}
PRIVATE = 65000
MOST_FIELDS = 100
MOST_PARTS = 10_000
LARGEST = 64 << 20
TEXT = 2  # type of a field
FIELD = 12  # bytes
INSIDE = 4  # bytes of a text that is in the field itself


def block(texts: Mapping[str, str]) -> bytes:
    """The EXIF block, a TIFF file, of texts in ASCII."""
    exif = Image.Exif()
    others = [name for name in texts if name not in FIELDS]
    fields = FIELDS | {name: PRIVATE + number for number, name in enumerate(others)}
    for name, text in texts.items():
        exif[fields[name]] = f"{name}:{text}"
    return exif.tobytes().removeprefix(HEAD)


def segments(block: bytes) -> bytes:
    """The segments of a JPEG file that hold an EXIF block."""
    most = LONGEST_SEGMENT - 2 - len(HEAD)
    return b"".join(segment(HEAD + block[start : start + most]) for start in range(0, len(block), most))


def read(file: BinaryIO) -> dict[str, str]:
    """The texts in a WebP or JPEG file, by name; empty if it has no EXIF block.

    Raises:
        ValueError: the file or its EXIF block is damaged, or too large.
    """
    found = _block(file)
    return _texts(found) if found else {}


def _block(file: BinaryIO) -> bytes:
    is_jpeg = format_of(file) == "jpeg"
    pieces, size = [], 0
    for part in parts(file, MOST_PARTS):
        if part.kind != (APP1 if is_jpeg else b"EXIF"):
            continue
        size += part.length
        if size > LARGEST:
            raise ValueError(f"has an EXIF block of more than {LARGEST} bytes")
        content = content_of(file, part)
        if content.startswith(HEAD) or not is_jpeg:
            pieces.append(content.removeprefix(HEAD))
    return b"".join(pieces)


def _texts(block: bytes) -> dict[str, str]:
    """Read here, and not by Pillow, which copies all fields: a small file can have many that overlap."""
    orders: dict[bytes, Literal["little", "big"]] = {b"II*\0": "little", b"MM\0*": "big"}
    order = orders.get(block[:4])
    if order is None:
        raise ValueError("has a damaged EXIF block")

    def number(start: int, length: int) -> int:
        return int.from_bytes(block[start : start + length], order)

    first = number(4, 4)
    count = number(first, 2)
    if count > MOST_FIELDS:
        raise ValueError(f"has an EXIF block of more than {MOST_FIELDS} fields")
    texts = {}
    for place in range(first + 2, first + 2 + FIELD * count, FIELD):
        if number(place + 2, 2) == TEXT:
            length = number(place + 4, 4)
            start = number(place + 8, 4) if length > INSIDE else place + 8
            name, colon, text = block[start : start + length].rstrip(b"\0").decode("latin-1").partition(":")
            if colon:
                texts[name] = text
    return texts
