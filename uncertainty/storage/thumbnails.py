"""Small pictures of saved images."""

import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from . import foreign

QUALITY, FASTEST = 80, 1  # of Pillow's WebP encoder


def thumbnail(path: Path, longest: int) -> bytes:
    """A picture file as a WebP whose longer side has at most ``longest`` pixels; never enlarged.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no picture, is damaged, or has more pixels than Pillow's limit.
    """
    foreign.check_file(path)
    try:
        with Image.open(path) as image:
            image.draft("RGB", (longest, longest))  # a JPEG is decoded no larger than needed
            image.thumbnail((longest, longest))
            data = io.BytesIO()
            image.save(data, "WEBP", quality=QUALITY, method=FASTEST)
    except UnidentifiedImageError as error:  # whose message has the whole path
        raise ValueError(f"{path.name} is not a readable picture.") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path.name} has more pixels than Pillow's limit.") from error
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{path.name} is damaged ({error}).") from error
    except OSError as error:
        raise OSError(f"{path.name} cannot be read ({error.strerror or error}).") from error
    return data.getvalue()
