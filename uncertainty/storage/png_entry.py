"""The text entry in PNG files of this pack: the scores of the image and a small map.

The entry is part of the file, so it survives moving, renaming and copying.
"""

import base64
import io
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile, PngInfo
from torch import Tensor

from ..images.heatmaps import as_pictures
from ..maps import UncertaintyMap
from ..quantities import DEFAULT_QUANTITY
from .records import ImageRecord, records_of

ENTRY = "uncertainty"
VERSION = 1
COMPRESSION = 4  # same as ComfyUI's SaveImage


def as_image(picture: Tensor) -> Image.Image:
    """A picture (height, width, channels), 0 to 1, in 8 bits, truncated as by ComfyUI's nodes so that files are identical."""
    return Image.fromarray((picture.float().cpu().numpy() * 255).clip(0, 255).astype(np.uint8))


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
    shown = DEFAULT_QUANTITY if DEFAULT_QUANTITY in alone.quantities else next(iter(alone.quantities))
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
            "pack_version": measured.settings.get("pack_version"),
            "map": _packed(as_pictures(alone.quantity(shown).sum(0))[0]),
        }
    )


def read(path: Path) -> ImageRecord | None:
    """The record in a PNG file; None if the file has no entry of this pack. Scores missing from the entry are absent.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a PNG, is damaged, or was written by a newer version.
    """
    about = _entry_of(path)
    if about is None:
        return None
    with _damage_named(path):
        return ImageRecord(
            scores={name: (_number(value), _number(error)) for name, (value, error) in about["scores"].items()},
            fingerprint=about["fingerprint"],
            model=about["model"],
            seed=about["seed"],
            place=about["place"],
            digest=about.get("digest"),
            file=path.name,
        )


def read_map(path: Path) -> Tensor | None:
    """The small map of a PNG file, (h, w), scaled from 0 (lowest value) to 1 (highest); None if the file has no entry.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a PNG, is damaged, or was written by a newer version.
    """
    about = _entry_of(path)
    if about is None:
        return None
    with _damage_named(path):
        return unpacked(about["map"])


def _entry_of(path: Path) -> dict[str, Any] | None:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            # Text before the pixels is read with the header, without decoding the pixels.
            text = image.info.get(ENTRY) if isinstance(image, PngImageFile) else None
    except UnidentifiedImageError as error:
        raise ValueError(f"{path.name} is not a readable PNG file.") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path.name} has more pixels than Pillow's limit.") from error
    if text is None:
        return None
    with _damage_named(path):
        about: dict[str, Any] = {**json.loads(text)}
        if about["version"] > VERSION:
            raise ValueError("it was written by a newer version of this pack: update the pack")
        return about


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn errors about a damaged entry into ValueErrors that name the file."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path.name} has a damaged entry '{ENTRY}' ({error}).") from error


def unpacked(packed: Mapping[str, Any]) -> Tensor:
    """The small map of an entry, (h, w), scaled from 0 (lowest value) to 1 (highest).

    Raises:
        ValueError: the map is damaged.
    """
    try:
        with Image.open(io.BytesIO(base64.b64decode(packed["png"])), formats=["PNG"]) as image:
            return torch.from_numpy(np.array(image.convert("L"), np.float32) / 255)
    except (KeyError, TypeError, OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow raises these
        raise ValueError(f"the map in the file is damaged ({error}).") from error


def _valid(value: float) -> float | None:
    """The value, or None if it is not finite, because JSON has no NaN."""
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _packed(picture: Tensor) -> dict[str, Any]:
    """A map (h, w) as an 8-bit grey PNG, and the values that black and white represent."""
    finite = torch.nan_to_num(picture.float(), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = finite.min(), finite.max()
    grey = ((finite - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny) * 255).round().byte()
    data = io.BytesIO()
    Image.fromarray(grey.numpy()).save(data, "PNG", optimize=True)
    return {"png": base64.b64encode(data.getvalue()).decode(), "low": float(low), "high": float(high)}
