"""The XMP of a picture as another program reads it: Pillow finds the packet, and Python's parser reads it."""

from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

NAME = "XML:com.adobe.xmp"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
RATING = "{http://ns.adobe.com/xap/1.0/}Rating"


def packet(path: Path) -> str | None:
    """The packet; None if the file has none."""
    with Image.open(path) as image:
        found: str | None = image.info.get(NAME)
        raw: bytes | None = image.info.get("xmp")
    return raw.decode() if found is None and raw is not None else found


def descriptions(path: Path) -> list[ElementTree.Element]:
    """What the packet says of the picture, in its parts."""
    found = packet(path)
    return [] if found is None else list(ElementTree.fromstring(found.encode()).iter(f"{RDF}Description"))  # noqa: S314 of our tests


def rating(path: Path) -> str | None:
    """The rating; None if there is none, and an error if there are several."""
    said = [value for each in descriptions(path) for value in (each.get(RATING), each.findtext(RATING)) if value is not None]
    assert len(said) < 2
    return said[0] if said else None
