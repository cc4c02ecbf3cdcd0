"""What a PNG file of this pack knows about its own uncertainty: scores and a small map, in a text entry before the pixels.

A file that is moved, renamed or copied still knows them.
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
COMPRESSION = 4  # as ComfyUI's SaveImage


def as_image(picture: Tensor) -> Image.Image:
    """A picture (height, width, channels), 0 to 1, cut off as ComfyUI's own nodes do, so that equal pictures are equal files."""
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
    alone = measured.select([image])  # a batch of thousands has thousands of entries
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
            "place": image,
            "pack_version": measured.settings.get("pack_version"),
            "map": _packed(as_pictures(alone.quantity(shown).sum(0))[0]),
        }
    )


def read(path: Path) -> ImageRecord | None:
    """What a PNG file knows of its image; None if it is no PNG of this pack. Scores that it lacks are absent.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or was written by a newer version.
    """
    told = _entry_of(path)
    if told is None:
        return None
    with _damage_named(path):
        return ImageRecord(
            scores={name: (_number(value), _number(error)) for name, (value, error) in told["scores"].items()},
            fingerprint=told["fingerprint"],
            model=told["model"],
            seed=told["seed"],
            place=told["place"],
            file=path.name,
        )


def read_map(path: Path) -> Tensor | None:
    """The small map of a PNG file, (h, w), 0 to 1 between its lowest and highest value; None if it has none.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or was written by a newer version.
    """
    told = _entry_of(path)
    if told is None:
        return None
    with _damage_named(path):
        return unpacked(told["map"])


def _entry_of(path: Path) -> dict[str, Any] | None:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            # Text before the pixels is read with the header; the pixels are not.
            text = image.info.get(ENTRY) if isinstance(image, PngImageFile) else None
    except UnidentifiedImageError as error:
        raise ValueError(f"{path.name} is no readable PNG.") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path.name} has more pixels than Pillow opens.") from error
    if text is None:
        return None
    with _damage_named(path):
        told: dict[str, Any] = {**json.loads(text)}
        if told["version"] > VERSION:
            raise ValueError("it was written by a newer version of this pack: update the pack")
        return told


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Name the file when its entry turns out damaged."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path.name} has a damaged entry '{ENTRY}' ({error}).") from error


def unpacked(packed: Mapping[str, Any]) -> Tensor:
    """The small map of an entry, (h, w), 0 to 1 between its lowest and highest value.

    Raises:
        ValueError: it is damaged.
    """
    try:
        with Image.open(io.BytesIO(base64.b64decode(packed["png"])), formats=["PNG"]) as image:
            return torch.from_numpy(np.array(image.convert("L"), np.float32) / 255)
    except (KeyError, TypeError, OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's, of broken chunks too
        raise ValueError(f"the map in the file is damaged ({error}).") from error


def _valid(value: float) -> float | None:
    """For JSON, which knows no NaN."""
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _packed(picture: Tensor) -> dict[str, Any]:
    """A map (h, w) as an 8-bit grey PNG, with the values of black and white."""
    finite = torch.nan_to_num(picture.float(), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = finite.min(), finite.max()
    grey = ((finite - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny) * 255).round().byte()
    data = io.BytesIO()
    Image.fromarray(grey.numpy()).save(data, "PNG", optimize=True)
    return {"png": base64.b64encode(data.getvalue()).decode(), "low": float(low), "high": float(high)}
