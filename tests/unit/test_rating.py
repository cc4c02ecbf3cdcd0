"""Ratings in PNG, WebP and JPEG files: read by an independent reader, and nothing else in the file changes."""

import io
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_killed import killed_at_every_line

from uncertainty.storage import picture_entry, picture_files
from uncertainty.storage.rating import REJECTED, write_rating
from xmp import NAME, RDF, descriptions, packet, rating

pytestmark = pytest.mark.usefixtures("each_desk")

# As Lightroom, exiftool and darktable write it: as an attribute, as an element, and under the older prefix.
ATTRIBUTE = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="uuid:1" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
   xmp:Rating="2" xmp:Label="Größe &amp; Farbe"><dc:subject><rdf:Bag><rdf:li>cat</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta>      <?xpacket end="w"?>"""
ELEMENT = ATTRIBUTE.replace('xmp:Rating="2" ', "").replace("<dc:subject>", "<xmp:Rating>2</xmp:Rating><dc:subject>")
NONE = ATTRIBUTE.replace('xmp:Rating="2" ', "")
OLDER = ATTRIBUTE.replace("xmlns:xmp=", "xmlns:xap=").replace("xmp:Rating", "xap:Rating").replace("xmp:Label", "xap:Label")


def save(path: Path, packet: str | None = None, *, compressed: bool = False) -> bytes:
    """A picture with other entries; returns the file."""
    about = PngInfo()
    about.add_text("prompt", '{"1": {}}')
    if packet is not None:
        about.add_itxt(NAME, packet, zip=compressed)
    about.add_text("workflow", "w" * 5000, zip=True)
    Image.effect_noise((64, 48), 50).save(path, pnginfo=about)
    return path.read_bytes()


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of each chunk, whose checksums are right."""
    found, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + content) == int.from_bytes(data[at + 8 + length : at + 12 + length], "big")
        found.append((kind, content))
        at += 12 + length
    return found


def others(data: bytes) -> list[tuple[bytes, bytes]]:
    return [(kind, content) for kind, content in chunks(data) if not content.startswith(NAME.encode())]


def test_a_rating_is_added_changed_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    before = save(path)
    path.chmod(0o640)
    mode = path.stat().st_mode & 0o777  # Windows knows no others
    with Image.open(path) as image:
        pixels = image.tobytes()
    for value in (3, 5, REJECTED, 1):
        assert write_rating(path, value) == (path.stat().st_size, path.stat().st_mtime_ns)
        assert rating(path) == str(value)
        assert others(path.read_bytes()) == chunks(before)
        with Image.open(path) as image:
            assert image.tobytes() == pixels and image.info["prompt"] == '{"1": {}}'
    write_rating(path, 0)
    assert path.read_bytes() == before
    write_rating(path, 0)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == mode
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("theirs", [ATTRIBUTE, ELEMENT, OLDER, NONE, ATTRIBUTE.replace('"', "'")])
def test_what_other_programs_wrote_stays(tmp_path: Path, theirs: str) -> None:
    path = tmp_path / "a.png"
    before = save(path, theirs)
    for value in (4, REJECTED, 0):
        write_rating(path, value)
        assert rating(path) == str(value)
        assert others(path.read_bytes()) == others(before)
        (described, *_) = descriptions(path)
        assert described.get("{http://ns.adobe.com/xap/1.0/}Label") == "Größe & Farbe"
        assert [item.text for item in described.iter(f"{RDF}li")] == ["cat"]
        assert {each.get(f"{RDF}about") for each in descriptions(path)} == {"uuid:1"}
    if theirs != NONE:
        write_rating(path, 2)
        assert packet(path) == theirs


@pytest.mark.parametrize("kind", ["webp", "jpeg"])
@pytest.mark.parametrize("texts", [{}, {"workflow": "w" * 100_000}])
def test_webp_and_jpeg_are_rated_too(tmp_path: Path, kind: str, texts: dict[str, str]) -> None:
    path = tmp_path / f"a.{kind}"
    before = picture_entry.content(torch.rand(9, 7, 3), texts, kind)
    path.write_bytes(before)
    with Image.open(path) as image:
        pixels = image.tobytes()
    for value in (3, REJECTED, 5):
        assert write_rating(path, value) == (path.stat().st_size, path.stat().st_mtime_ns)
        assert rating(path) == str(value) and picture_entry.text(path, "workflow") == texts.get("workflow")
        with Image.open(path) as image:
            assert image.tobytes() == pixels
    (packet_of_ours,) = (each for each in parts(path) if PACKET in each)
    assert [each for each in parts(path) if each != packet_of_ours][1:] == parts(before)[1:]  # the first may have a flag
    write_rating(path, 0)
    assert path.read_bytes() == before


PACKET = b"xmp:Rating"


def parts(file: Path | bytes) -> list[bytes]:
    content = file.read_bytes() if isinstance(file, Path) else file
    found = list(picture_files.parts(io.BytesIO(content), 1000))
    return [content[each.start : each.end] for each in found] + [content[found[-1].end :]]


@pytest.mark.parametrize("kind", ["webp", "jpeg"])
def test_xmp_of_another_program_stays_in_webp_and_jpeg(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    Image.effect_noise((64, 48), 50).convert("RGB").save(path, xmp=ATTRIBUTE.encode())
    before = path.read_bytes()
    for value in (4, REJECTED, 0):
        write_rating(path, value)
        assert rating(path) == str(value)
        assert packet(path) == ATTRIBUTE.replace('xmp:Rating="2"', f'xmp:Rating="{value}"')
    write_rating(path, 2)
    assert path.read_bytes() == before


def test_a_webp_file_without_room_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    Image.effect_noise((64, 48), 50).convert("RGB").save(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"a\.webp has no extended header, so it has no room for a rating"):
        write_rating(path, 3)
    assert path.read_bytes() == before


def test_a_packet_behind_the_pixels_is_changed_there(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save(path, ATTRIBUTE)
    listed = chunks(path.read_bytes())
    xmp = next(each for each in listed if each[1].startswith(NAME.encode()))
    listed.remove(xmp)
    listed.insert(-1, xmp)
    parts = [len(c).to_bytes(4, "big") + k + c + zlib.crc32(k + c).to_bytes(4, "big") for k, c in listed]
    path.write_bytes(path.read_bytes()[:8] + b"".join(parts) + b"after the end")
    write_rating(path, 5)
    data = path.read_bytes()
    assert data.endswith(b"after the end")
    assert [kind for kind, _ in chunks(data[: -len(b"after the end")])] == [kind for kind, _ in listed]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a PNG, WebP or JPEG file"),
        (b"GIF89a and more", "not a PNG, WebP or JPEG file"),
        (b"\x89PNG\r\n\x1a\n", "incomplete"),
        (b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDAT", "incomplete"),
        (b"\x89PNG\r\n\x1a\n" + bytes(4) + b"IEND" + bytes(4), "no pixels"),
        (b"RIFF\4\0\0\0WEBP", "no pixels"),
        (b"RIFF\xff\0\0\0WEBP", "incomplete"),
        (picture_entry.content(torch.zeros(8, 8, 3), {}, "webp")[:-1], "incomplete"),
        (picture_entry.content(torch.zeros(8, 8, 3), {}, "jpeg")[:30], "incomplete"),
        (b"\x89PNG\r\n\x1a\n" + (bytes(4) + b"abcd" + bytes(4)) * 100_001, "more than 100000 parts"),
    ],
)
def test_what_is_no_picture_is_named_and_stays(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.png .*{words}"):
        write_rating(path, 3)
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("theirs", "compressed"),
    [
        (ATTRIBUTE, True),
        ("x" * 2_000_000, False),
        ("no XML at all", False),
        (ELEMENT.replace("<xmp:Rating>2</xmp:Rating>", '<xmp:Rating rdf:type="x"/>'), False),
    ],
)
def test_xmp_that_cannot_be_edited_is_left_alone(tmp_path: Path, theirs: str, compressed: bool) -> None:
    path = tmp_path / "a.png"
    before = save(path, theirs, compressed=compressed)
    with pytest.raises(ValueError, match=r"a\.png has .*XMP"):
        write_rating(path, 3)
    assert path.read_bytes() == before


@pytest.mark.here_alone("makes links")
def test_a_link_and_a_file_that_changes_meanwhile_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, link = tmp_path / "a.png", tmp_path / "link.png"
    before = save(path)
    link.symlink_to(path)
    with pytest.raises(ValueError, match=r"link\.png is a link"):
        write_rating(link, 3)
    assert link.is_symlink() and path.read_bytes() == before

    def another_writes(packet: str | None, value: int) -> None:
        path.write_bytes(b"another program's")

    monkeypatch.setattr("uncertainty.storage.rating._edited", another_writes)
    with pytest.raises(ValueError, match="changed by another program"):
        write_rating(path, 3)
    assert path.read_bytes() == b"another program's"


@pytest.mark.here_alone("other processes are not at the desk")
def test_a_process_killed_at_any_line_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    before = save(path)

    def check() -> None:
        data = path.read_bytes()
        assert data == before or rating(path) == "4"
        assert others(data) == chunks(before)

    assert killed_at_every_line(lambda: write_rating(path, 4), check) > 15
    assert rating(path) == "4"
