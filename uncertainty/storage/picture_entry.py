"""The text entry in pictures of this pack: the scores of the image and a small map.

The entry is part of the file, so it survives moving, renaming and copying.
"""

import base64
import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo
from torch import Tensor

from ..images.heatmaps import as_pictures, resize
from ..kinds import ANYTHING, COUNT, LARGEST, NUMBER, SEED, TEXT, Kind, listed, named, optional
from ..maps import UncertaintyMap
from ..scores import SCORES
from ..settings import possible
from . import exif_texts, foreign, picture_files, pillow_errors
from .records import ImageRecord, extra_fields, extra_scores, records_of

ENTRY = "uncertainty"
VERSION = 1
COMPRESSION = 4  # same as ComfyUI's SaveImage
JPEG_QUALITY = 95
LONGEST_SIDE = {"webp": 16383, "jpeg": 65500}  # pixels
RGBA = 4  # channels
WEBP_ALPHA, WEBP_EXIF = 0x10, 0x08  # flags in the head of a file
# Most pixels of a small map, far above any latent: a few bytes can claim to be a picture that fills the memory.
MOST_PIXELS = 4096 * 4096
# Pillow takes a while for each chunk, and a file of a few megabytes can have a million. ComfyUI's and this pack's have hundreds.
MOST_CHUNKS = 10_000
CHUNK_HEAD = 8  # bytes: length and type of a chunk, as many as the file's signature has
CHUNK_END = 4  # bytes of a checksum
# Most pixels of a map that is shown. A larger one is scaled down, because it lies over a smaller picture anyway.
MOST_SHOWN = 1024 * 1024
_PNG = Kind("a PNG picture in base64", lambda value: isinstance(value, str))
_SCORES = named(listed(optional(NUMBER), most=2, least=2))


def as_image(picture: Tensor) -> Image.Image:
    """A picture (height, width, channels), 0 to 1, in 8 bits, truncated as by ComfyUI's nodes so that files are identical."""
    return Image.fromarray((picture.float().cpu().numpy() * 255).clip(0, 255).astype(np.uint8))


def content(picture: Tensor, about: Mapping[str, str], format: str = "png") -> bytes:  # noqa: A002 as Pillow names it
    """A picture (height, width, channels), 0 to 1, as a file with text entries.

    Raises:
        ValueError: the format cannot hold the picture.
    """
    height, width, channels = picture.shape
    if max(width, height) > LONGEST_SIDE.get(format, math.inf):
        raise ValueError(
            f"format {format} holds at most {LONGEST_SIDE[format]} pixels a side, but images are {width} x {height}: choose png."
        )
    if format == "jpeg" and channels == RGBA:
        raise ValueError("format jpeg holds no transparency, but the images have it: choose png or webp.")
    return {"png": png, "webp": _webp, "jpeg": _jpeg}[format](picture, about)


def _webp(picture: Tensor, about: Mapping[str, str]) -> bytes:
    """Lossless, as by ComfyUI's SaveAnimatedWEBP.

    The texts stand before the pixels, as the container allows: some of ComfyUI's front-ends lose their way after a chunk of odd
    length.
    """
    data = io.BytesIO()
    as_image(picture).save(data, "WEBP", lossless=True, exact=True)
    height, width, channels = picture.shape
    flags = (WEBP_EXIF if about else 0) | (WEBP_ALPHA if channels == RGBA else 0)
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    head = picture_files.chunk(b"VP8X", flags.to_bytes(4, "little") + sides)  # also without texts: a rating needs it
    texts = picture_files.chunk(b"EXIF", exif_texts.block(about)) if about else b""
    body = b"WEBP" + head + texts + data.getvalue()[picture_files.RIFF_HEAD :]
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _jpeg(picture: Tensor, about: Mapping[str, str]) -> bytes:
    """In the quality of ComfyUI's previews."""
    data = io.BytesIO()
    as_image(picture).save(data, "JPEG", quality=JPEG_QUALITY)
    texts = exif_texts.segments(exif_texts.block(about)) if about else b""
    return picture_files.JPEG_START + texts + data.getvalue()[len(picture_files.JPEG_START) :]


def png(picture: Tensor, about: Mapping[str, str]) -> bytes:
    """A picture (height, width, channels), 0 to 1, as a PNG file with text entries."""
    texts, data = PngInfo(), io.BytesIO()
    for name, text in about.items():
        texts.add_text(name, text)
    as_image(picture).save(data, "PNG", pnginfo=texts, compress_level=COMPRESSION)
    return data.getvalue()


def entry(measured: UncertaintyMap, image: int) -> str:
    """The text entry of one image of a map."""
    alone = measured.select([image])  # so that the cost per entry does not grow with the batch
    (record,) = records_of(alone)
    return json.dumps(
        {
            "version": VERSION,
            "scores": {name: [_valid(part) for part in score] for name, score in record.scores.items()},
            "steps": list(measured.steps),
            "total_steps": measured.total_steps,
            "fingerprint": record.fingerprint,
            "model": record.model,
            "seed": record.seed,
            "place": record.place,
            "digest": record.digest,
            "prompt_digest": record.prompt_digest,
            "extra_scores": extra_fields(record.extra_scores),
            "pack_version": possible(measured.settings).get("pack_version"),
            "map": _packed(as_pictures(alone.summed(alone.default))[0]),
        }
    )


def read(path: Path, content: bytes | None = None) -> ImageRecord | None:
    """The record in a picture; None if the file has no entry of this pack. Scores missing from the entry are absent.

    Args:
        path: the file.
        content: its bytes, if it is not written yet; ``path`` then only names it.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no PNG, WebP or JPEG, is damaged, or was written by a newer version.
    """
    about = _entry_of(path, content)
    if about is None:
        return None
    with _damage_named(path):
        scores = foreign.field(about, "scores", _SCORES)
        return ImageRecord(
            scores={name: (_number(value), _number(error)) for name, (value, error) in scores.items() if name in SCORES},
            fingerprint=foreign.field(about, "fingerprint", TEXT),
            model=foreign.field(about, "model", TEXT),
            seed=foreign.field(about, "seed", optional(SEED)),
            place=foreign.field(about, "place", COUNT),
            digest=foreign.field({"digest": None, **about}, "digest", optional(TEXT)),
            prompt_digest=foreign.field({"prompt_digest": None, **about}, "prompt_digest", optional(TEXT)),
            file=path.name,
            extra_scores=extra_scores(about.get("extra_scores", {})),
        )


def read_map(path: Path) -> Tensor | None:
    """The small map in a picture, (h, w), scaled from 0 (lowest value) to 1 (highest); None if the file has no entry.

    A map of more than ``MOST_SHOWN`` pixels is scaled down.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no PNG, WebP or JPEG, is damaged, or was written by a newer version.
    """
    about = _entry_of(path)
    if about is None:
        return None
    with _damage_named(path):
        return unpacked(foreign.field(about, "map", named(ANYTHING)))


def _entry_of(path: Path, content: bytes | None = None) -> dict[str, Any] | None:
    entry = text(path, ENTRY, content)
    if entry is None:
        return None
    with _damage_named(path):
        about = foreign.fields(entry)
        if foreign.field(about, "version", COUNT) > VERSION:
            raise ValueError("it was written by a newer version of this pack: update the pack")
        return about


def text(path: Path, name: str, content: bytes | None = None) -> str | None:
    """A text entry of a picture; None if it has none of this name. No pixels are decoded. ``content`` is as for ``read``.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no PNG, WebP or JPEG, or is damaged.
    """
    if content is None:
        foreign.check_file(path)
    with pillow_errors.named(path, "PNG, WebP or JPEG file"), path.open("rb") if content is None else io.BytesIO(content) as file:
        if picture_files.format_of(file) in ("webp", "jpeg"):
            return _exif_text(file, name)
        _check_chunks(file, last=b"IDAT")
        file.seek(0)
        image = Image.open(file, formats=["PNG"])
        # Text before the pixels is read with the header, without decoding the pixels. Pillow bounds what it decompresses to.
        held = image.info.get(name) if isinstance(image, PngImageFile) else None
    return held if isinstance(held, str) else None


def _exif_text(file: BinaryIO, name: str) -> str | None:
    try:
        return exif_texts.read(file).get(name)
    except ValueError as error:
        raise ValueError(f"it {error}") from error


def _check_chunks(file: BinaryIO, last: bytes) -> None:
    """Raise ValueError if a PNG file has too many chunks up to the first of type ``last``."""
    file.seek(CHUNK_HEAD)
    for _ in range(MOST_CHUNKS):
        head = file.read(CHUNK_HEAD)
        if len(head) < CHUNK_HEAD or head.endswith(last):
            return
        file.seek(int.from_bytes(head[:4], "big") + CHUNK_END, os.SEEK_CUR)
    raise ValueError(f"it has more than {MOST_CHUNKS} chunks")


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn errors about a damaged entry into ValueErrors that name the file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path.name} has a damaged entry '{ENTRY}' ({error}).") from error


def unpacked(packed: Mapping[str, Any]) -> Tensor:
    """The small map of an entry, (h, w), scaled from 0 (lowest value) to 1 (highest); at most ``MOST_SHOWN`` pixels.

    Raises:
        ValueError: the map is damaged or has more than ``MOST_PIXELS`` pixels.
    """
    png = io.BytesIO(base64.b64decode(foreign.field(packed, "png", _PNG)))
    _check_chunks(png, last=b"IEND")
    png.seek(0)
    try:
        with Image.open(png, formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"the map in the file claims {image.width} x {image.height} pixels, more than {MOST_PIXELS}")
            grey = image.convert("L")
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:  # Pillow raises these
        raise ValueError(f"the map in the file is damaged ({error}).") from error
    while grey.width * grey.height > MOST_SHOWN:
        grey = grey.reduce((min(2, grey.width), min(2, grey.height)))
    return torch.from_numpy(np.array(grey, np.float32) / 255)


def _valid(value: float) -> float | None:
    """The value, or None if it is not finite, because JSON has no NaN."""
    return value if abs(value) <= LARGEST else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _packed(picture: Tensor) -> dict[str, Any]:
    """A map (h, w) as an 8-bit grey PNG, and the values that black and white represent."""
    height, width = picture.shape
    if height * width > MOST_PIXELS:
        shrink = math.sqrt(MOST_PIXELS / (height * width))
        picture = resize(picture[None], max(1, int(height * shrink)), max(1, int(width * shrink)))[0]
    finite = torch.nan_to_num(picture.float(), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = finite.min(), finite.max()
    grey = ((finite - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny) * 255).round().byte()
    data = io.BytesIO()
    Image.fromarray(grey.numpy()).save(data, "PNG", optimize=True)
    return {"png": base64.b64encode(data.getvalue()).decode(), "low": float(low), "high": float(high)}
