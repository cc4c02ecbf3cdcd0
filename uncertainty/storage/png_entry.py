"""What a PNG file of this pack knows about its own uncertainty: scores and a small map, in a text entry before the pixels.

A file that is moved, renamed or copied still knows them.
"""

import base64
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile, PngInfo
from torch import Tensor

from ..estimators import QUANTITIES
from ..images.heatmaps import as_pictures
from ..maps import DEFAULT_QUANTITY, SCORES, UncertaintyMap, finite
from .fingerprints import fingerprint

ENTRY = "uncertainty"
VERSION = 1
COMPRESSION = 4  # as ComfyUI's SaveImage


@dataclass(frozen=True)
class Known:
    """What a file knows: score and error by quantity and measured baseline (NaN where there is none), and where it comes from."""

    scores: dict[str, tuple[float, float]]
    fingerprint: str
    model: str
    seed: int | None
    place: int
    map: dict[str, Any]


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


def entry(found: UncertaintyMap, image: int) -> str:
    """The text entry of one image of a map."""
    found = found.select([image])  # alone: a batch of thousands has thousands of entries
    scores = {name: found.score(name) for name in (*QUANTITIES, *found.baselines)}
    pictures = as_pictures(found.quantity(DEFAULT_QUANTITY).sum(0))
    return json.dumps(
        {
            "version": VERSION,
            "scores": {name: [finite(part[0]) for part in score] for name, score in scores.items()},
            "steps": list(found.steps),
            "total_steps": found.total_steps,
            "fingerprint": fingerprint(found),
            "model": found.settings.get("model", ""),
            "seed": found.settings.get("seed"),
            "place": image,
            "pack_version": found.settings.get("pack_version"),
            "map": _packed(pictures[0]),
        }
    )


def read(path: Path) -> Known | None:
    """What a PNG file knows; None if it is no PNG of this pack.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or was written by a newer version.
    """
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
    try:
        told = json.loads(text)
        if told["version"] > VERSION:
            raise ValueError("it was written by a newer version of this pack")
        given = told["scores"]
        names = [name for name in SCORES if name in QUANTITIES or name in given]
        scores = {name: (_number(given[name][0]), _number(given[name][1])) for name in names}
        return Known(scores, told["fingerprint"], told["model"], told["seed"], told["place"], told["map"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path.name} has a damaged entry '{ENTRY}' ({error}).") from error


def unpacked(packed: dict[str, Any]) -> Tensor:
    """The small map, (h, w), 0 to 1 between its lowest and highest value.

    Raises:
        ValueError: it is damaged.
    """
    try:
        with Image.open(io.BytesIO(base64.b64decode(packed["png"])), formats=["PNG"]) as image:
            return torch.from_numpy(np.array(image.convert("L"), np.float32) / 255)
    except (KeyError, TypeError, OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's, of broken chunks too
        raise ValueError(f"the map in the file is damaged ({error}).") from error


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
