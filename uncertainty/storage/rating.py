"""The rating in the XMP of a PNG, WebP or JPEG file, where photo software looks for it.

XMP specification (ISO 16684-1): ``xmp:Rating`` is -1 for a rejected picture, 0 for one without a rating, else 1 to 5 stars.
darktable reads all of these; some programs take -1 for no rating. In a PNG file the packet is an uncompressed iTXt chunk, in a
JPEG file an APP1 segment (part 3, *Storage in files*), in a WebP file the chunk "XMP ", which a flag announces (*WebP Container
Specification*). A packet of another program is edited as text, so that everything else in it stays as it is; no XML of others is
parsed.
"""

import io
import re
import stat
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .atomic import atomic_write
from .picture_files import APP1, Part, chunk, content_of, format_of, parts, segment

REJECTED = -1
MOST_STARS = 5
LONGEST_PACKET = 1 << 20
MOST_PARTS = 100_000
AT_ONCE = 1 << 20  # bytes that are copied

XMP, RDF = "http://ns.adobe.com/xap/1.0/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_OWN = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">'
    f'<rdf:Description rdf:about="" xmlns:xmp="{XMP}" xmp:Rating="{{}}"/>'
    '</rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
)


def write_rating(path: Path, rating: int) -> tuple[int, int]:
    """Set the rating in a picture. Pixels and all else in it are kept byte for byte; the file is whole at every moment.

    Without a rating, a packet that this function wrote is removed again.

    Args:
        path: the file.
        rating: ``REJECTED``, 0 for none, or 1 to ``MOST_STARS``.

    Returns:
        Size of the new file in bytes, and its time of change in nanoseconds since 1970.

    Raises:
        ValueError: the file is a link or write-protected, is no complete picture, has XMP that cannot be edited, or was changed
            meanwhile.
        OSError: the file cannot be read or written.
    """
    if path.is_symlink():
        raise ValueError(f"{path.name} is a link to another file, which is not changed.")
    before = path.stat()
    if not before.st_mode & stat.S_IWUSR:
        raise ValueError(f"{path.name} is write-protected: allow changes to it, and try again.")
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


def rated(content: bytes, rating: int) -> bytes:
    """The content of a picture with a rating, 0 to ``MOST_STARS``.

    Raises:
        ValueError: it is no complete picture, or has XMP that cannot be edited.
    """
    return _copied(io.BytesIO(content), rating) if rating else content


def without_rating(path: Path) -> bytes:
    """The content of a picture as it was before ``write_rating``.

    Raises:
        ValueError: the file is no complete picture, or has XMP that cannot be edited.
        OSError: the file cannot be read.
    """
    with path.open("rb") as source:
        return _copied(source, 0)


def _copied(source: BinaryIO, rating: int) -> bytes:
    target = io.BytesIO()
    _copy(source, target, rating)
    return target.getvalue()


class _Edit(NamedTuple):
    """Bytes from ``start`` to ``end`` become ``content``."""

    start: int
    end: int
    content: bytes


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a format keeps its packet.

    Attributes:
        kind: kind of the part.
        key: what the content of the part begins with if it is XMP.
        head: what stands before a packet that can be edited.
        is_next: whether a new packet goes before a part of this kind, which every file has; None for the end of the file.
        part: the part with this content.
    """

    kind: bytes
    key: bytes
    head: bytes
    is_next: Callable[[bytes], bool] | None
    part: Callable[[bytes], bytes]


def _itxt(content: bytes) -> bytes:
    whole = b"iTXt" + content
    return len(content).to_bytes(4, "big") + whole + zlib.crc32(whole).to_bytes(4, "big")


PNG_KEY = b"XML:com.adobe.xmp\0"
JPEG_KEY = b"http://ns.adobe.com/xap/1.0/\0"
PLACES = {
    "png": _Place(b"iTXt", PNG_KEY, PNG_KEY + bytes(4), b"IDAT".__eq__, _itxt),  # not compressed, in no language
    "jpeg": _Place(APP1, JPEG_KEY, JPEG_KEY, lambda kind: kind not in (b"\xff\xe0", APP1), segment),
    "webp": _Place(b"XMP ", b"", b"", None, lambda content: chunk(b"XMP ", content)),
}
EXTENDED, HAS_XMP = b"VP8X", 0x04  # the first chunk of a WebP file with metadata, and a flag in its first byte


def _copy(source: BinaryIO, target: BinaryIO, rating: int) -> None:
    """Copy a picture with another rating. Errors lack the name of the file."""
    edits = _edits(source, rating)
    source.seek(0)
    for edit in edits:
        while part := source.read(min(AT_ONCE, edit.start - source.tell())):
            target.write(part)
        target.write(edit.content)
        source.seek(edit.end)
    while part := source.read(AT_ONCE):
        target.write(part)


def _edits(file: BinaryIO, rating: int) -> list[_Edit]:
    place, start, end, packet, first = _find(file)
    new = _edited(packet, rating)
    if new is None and packet is None:
        return []
    edit = _Edit(start, end, b"" if new is None else place.part(place.head + new.encode()))
    return [edit] if place.kind != PLACES["webp"].kind else [*_announced(file, first, edit), edit]


def _announced(file: BinaryIO, first: Part, edit: _Edit) -> list[_Edit]:
    """The length in the head of a WebP file, and the flag that it has XMP, as they are after an edit."""
    if first.kind != EXTENDED or not first.length:
        raise ValueError("has no extended header, so it has no room for a rating")
    file.seek(4)
    length = int.from_bytes(file.read(4), "little") + len(edit.content) - (edit.end - edit.start)
    (flags, *_) = content_of(file, first)
    flags = flags | HAS_XMP if edit.content else flags & ~HAS_XMP
    return [_Edit(4, 8, length.to_bytes(4, "little")), _Edit(first.content, first.content + 1, bytes([flags]))]


def _find(file: BinaryIO) -> tuple[_Place, int, int, str | None, Part]:
    """Where a picture has its packet: the place, start and end of the part, and the packet; and the first part of the file.

    Without a packet, start and end are where a new one goes, and the packet is None.
    """
    place = PLACES.get(format_of(file) or "")
    if place is None:
        raise ValueError("is not a PNG, WebP or JPEG file")
    first = last = new = None
    for part in parts(file, MOST_PARTS):
        first, last = first or part, part
        if part.kind == place.kind:
            file.seek(part.content)
            if file.read(min(part.length, len(place.key))) == place.key:
                content = content_of(file, part) if part.length <= LONGEST_PACKET else b""
                return place, part.start, part.end, _packet(content, place.head), first
        if new is None and place.is_next is not None and place.is_next(part.kind):
            new = part.start
    if place.is_next is None and last is not None:
        new = last.end
    if first is None or new is None:
        raise ValueError("has no pixels")
    return place, new, new, None, first


def _packet(content: bytes, head: bytes) -> str:
    if not content.startswith(head) or not content:
        raise ValueError("has XMP that is compressed or too long to be changed")
    try:
        return content[len(head) :].decode()
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
