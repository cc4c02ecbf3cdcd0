"""The rating in the XMP of a PNG file, which Lightroom, Bridge, darktable and digiKam read.

XMP specification (ISO 16684-1): ``xmp:Rating`` is -1 for a rejected picture, 0 for one without a rating, else 1 to 5 stars. In a
PNG file the packet is an uncompressed iTXt chunk (part 3, *Storage in files*). A packet of another program is edited as text, so
that everything else in it stays as it is; no XML of others is parsed.
"""

import io
import re
import zlib
from pathlib import Path
from typing import BinaryIO

from .atomic import atomic_write

REJECTED = -1
MOST_STARS = 5
SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"XML:com.adobe.xmp"
# Not compressed, in no language.
HEAD = KEYWORD + bytes(5)
LONGEST_PACKET = 1 << 20
MOST_CHUNKS = 100_000
AT_ONCE = 1 << 20  # bytes that are copied

XMP, RDF = "http://ns.adobe.com/xap/1.0/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_OWN = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">'
    f'<rdf:Description rdf:about="" xmlns:xmp="{XMP}" xmp:Rating="{{}}"/>'
    '</rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
)


def write_rating(path: Path, rating: int) -> tuple[int, int]:
    """Set the rating in a PNG file. Pixels and all other chunks are kept byte for byte; the file is whole at every moment.

    Without a rating, a packet that this function wrote is removed again.

    Args:
        path: the file.
        rating: ``REJECTED``, 0 for none, or 1 to ``MOST_STARS``.

    Returns:
        Size of the new file in bytes, and its time of change in nanoseconds since 1970.

    Raises:
        ValueError: the file is a link, is no complete PNG, has XMP that cannot be edited, or was changed meanwhile.
        OSError: the file cannot be read or written.
    """
    if path.is_symlink():
        raise ValueError(f"{path.name} is a link to another file, which is not changed.")
    before = path.stat()
    with atomic_write(path) as unfinished:
        with path.open("rb") as source, unfinished.open("xb") as target:
            try:
                _copy(source, target, rating)
            except ValueError as error:
                raise ValueError(f"{path.name} {error}.") from error
        unfinished.chmod(before.st_mode & 0o7777)
        now = path.stat()
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
            raise ValueError(f"{path.name} was changed by another program meanwhile: try again.")
        after = unfinished.stat()
    return after.st_size, after.st_mtime_ns


def without_rating(path: Path) -> bytes:
    """The content of a PNG file as it was before ``write_rating``.

    Raises:
        ValueError: the file is no complete PNG, or has XMP that cannot be edited.
        OSError: the file cannot be read.
    """
    content = io.BytesIO()
    with path.open("rb") as source:
        _copy(source, content, 0)
    return content.getvalue()


def _copy(source: BinaryIO, target: BinaryIO, rating: int) -> None:
    """Copy a PNG file with another rating. Errors lack the name of the file."""
    start, end, packet = _find(source)
    new = _edited(packet, rating)
    source.seek(0)
    while part := source.read(min(AT_ONCE, start - source.tell())):
        target.write(part)
    if new is not None:
        content = b"iTXt" + HEAD + new.encode()
        target.write((len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big"))
    source.seek(end)
    while part := source.read(AT_ONCE):
        target.write(part)


def _find(file: BinaryIO) -> tuple[int, int, str | None]:
    """Where the XMP chunk of a PNG file begins and ends, and its packet; without one, the place before the pixels, and None."""
    if file.read(len(SIGNATURE)) != SIGNATURE:
        raise ValueError("is not a PNG file")
    pixels = None
    for _ in range(MOST_CHUNKS):
        start, head = file.tell(), file.read(8)
        if len(head) < 8:
            raise ValueError("is incomplete")
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"IDAT" and pixels is None:
            pixels = start
        if kind == b"IEND":
            if pixels is None:
                raise ValueError("has no pixels")
            return pixels, pixels, None
        if kind == b"iTXt" and file.read(len(KEYWORD) + 1) == KEYWORD + b"\0":
            file.seek(start + 8)
            return start, start + length + 12, _packet(file.read(length) if length <= LONGEST_PACKET else b"")
        file.seek(start + length + 12)
    raise ValueError(f"has more than {MOST_CHUNKS} chunks")


def _packet(data: bytes) -> str:
    if not data.startswith(HEAD):
        raise ValueError("has XMP that is compressed or too long to be changed")
    try:
        return data[len(HEAD) :].decode()
    except UnicodeDecodeError as error:
        raise ValueError("has XMP that is not UTF-8") from error


def _edited(packet: str | None, rating: int) -> str | None:
    """A packet with another rating; None if the file needs none."""
    if packet is None or packet in {_OWN.format(value) for value in range(REJECTED, MOST_STARS + 1)}:
        return _OWN.format(rating) if rating else None
    count = 0
    for prefix in set(re.findall(rf"""xmlns:([\w.-]+)\s*=\s*["']{re.escape(XMP)}["']""", packet)):
        name = re.escape(f"{prefix}:Rating")
        for place in (rf"""(\s{name}\s*=\s*["'])[^"'<]*(["'])""", rf"(<{name}\s*>)[^<]*(</{name}\s*>)"):
            packet, found = re.subn(place, rf"\g<1>{rating}\g<2>", packet)
            count += found
        if not count and f"<{prefix}:Rating" in packet:
            raise ValueError("has an XMP rating in a form that cannot be changed")
    return packet if count or not rating else _with_new(packet, rating)


def _with_new(packet: str, rating: int) -> str:
    """A packet that gets its first rating, in a description of its own."""
    for prefix in set(re.findall(rf"""xmlns:([\w.-]+)\s*=\s*["']{re.escape(RDF)}["']""", packet)):
        head, end, tail = packet.rpartition(f"</{prefix}:RDF")
        about = re.search(rf"""\s{re.escape(prefix)}:about\s*=\s*(?:"[^"<]*"|'[^'<]*')""", packet)
        named = about[0].strip() if about else f'{prefix}:about=""'  # all descriptions of a packet are about the same
        if end:
            return f'{head}<{prefix}:Description {named} xmlns:xmp="{XMP}" xmp:Rating="{rating}"/>{end}{tail}'
    raise ValueError("has XMP that cannot be changed")
