"""Small pictures of saved images."""

import io
from pathlib import Path

from PIL import Image

from . import foreign, pillow_errors

QUALITY, FASTEST = 80, 1  # of Pillow's WebP encoder


def thumbnail(path: Path, longest: int) -> bytes:
    """A picture file as a WebP whose longer side has at most ``longest`` pixels; never enlarged.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no picture, is damaged, or has more pixels than Pillow's limit.
    """
    foreign.check_file(path)
    data = io.BytesIO()
    with pillow_errors.named(path, "picture"), Image.open(path) as image:
        image.draft("RGB", (longest, longest))  # a JPEG is decoded no larger than needed
        image.thumbnail((longest, longest))
        image.save(data, "WEBP", quality=QUALITY, method=FASTEST)
    return data.getvalue()
