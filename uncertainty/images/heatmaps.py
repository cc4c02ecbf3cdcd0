"""Maps as pictures: normalise, colour, overlay.

Colour tables are matplotlib's (magma, inferno, viridis: CC0; turbo: Apache-2.0).
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..choices import check_choice

COLORMAPS = ("magma", "inferno", "viridis", "turbo")
NORMALIZATIONS = ("image", "batch", "absolute")
# Percentiles at the ends of the colour scale, so that a few extreme elements do not darken everything else.
LOW, HIGH = 0.01, 0.99


@cache
def colormap(name: str) -> Tensor:
    """Colour table, shape (256, 3), values 0 to 1.

    Raises:
        ValueError: the name is unknown.
    """
    check_choice("colormap", name, COLORMAPS)
    with np.load(Path(__file__).with_name("colormaps.npz")) as tables:
        return torch.from_numpy(tables[name].astype(np.float32) / 255)


def as_pictures(uncertainty: Tensor) -> Tensor:
    """Mean over channels as pictures (B, h, w). Each frame of a video (B, C, T, h, w) is a picture, audio (B, C, L) a row."""
    pictures = uncertainty.float().mean(1)
    if pictures.ndim == 4:
        return pictures.flatten(0, 1)
    return pictures[:, None] if pictures.ndim == 2 else pictures


def value_range(pictures: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """Ends of the colour scale of each picture (B, h, w), two tensors (B,).

    ``image``: 1st and 99th percentile of each picture. ``batch``: of all pictures together. ``absolute``: 0 and 1 in latent
    units, for the same colours in every run.

    Raises:
        ValueError: the mode is unknown.
    """
    check_choice("normalize", mode, NORMALIZATIONS)
    if mode == "absolute":
        return torch.zeros(len(pictures)), torch.ones(len(pictures))
    rows = _numbers(pictures).reshape(len(pictures) if mode == "image" else 1, -1)
    ends = [round(part * (rows.shape[1] - 1)) for part in (LOW, HIGH)]
    limits = torch.from_numpy(np.partition(rows.numpy(), ends, 1)[:, ends])  # ten times as fast as sorting
    low, high = limits.expand(len(pictures), 2).unbind(1)
    return low, high


def scaled(pictures: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Pictures (B, h, w) with the range from low to high, (B,), mapped to 0…1. Non-finite values count as 0."""
    if not bool((high - low).isfinite().all()):  # ends near those of float32, as only a file from elsewhere has them
        return scaled(pictures.double(), low.double(), high.double()).float()
    low, high = low[:, None, None], high[:, None, None]
    return ((_numbers(pictures) - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)).clamp(0, 1)


def normalize(pictures: Tensor, mode: str) -> Tensor:
    """Pictures (B, h, w) with their ``value_range`` mapped to 0…1."""
    return scaled(pictures, *value_range(pictures, mode))


def _numbers(pictures: Tensor) -> Tensor:
    return torch.nan_to_num(pictures, nan=0.0, posinf=0.0, neginf=0.0)


def colorize(values: Tensor, name: str) -> Tensor:
    """Values 0…1, (B, h, w), as colours (B, h, w, 3)."""
    table = colormap(name)
    return table[(values * 255).round().long()]


def resize(pictures: Tensor, height: int, width: int) -> Tensor:
    """Pictures (B, h, w) at another size, bilinear. Resize before ``colorize``, to interpolate values instead of colours."""
    if pictures.shape[1:] == (height, width):
        return pictures
    return interpolate(pictures[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0]


def retime(pictures: Tensor, videos: int, frames: int) -> Tensor:
    """The T frames of each video, (videos·T, h, w), interpolated linearly in time to ``frames`` frames, (videos·frames, h, w).

    First and last frames coincide. Video autoencoders decode T latent frames to 4T - 3 or 8T - 7 pictures, so that latent frame k
    falls on picture 4k or 8k.
    """
    height, width = pictures.shape[1:]
    if len(pictures) == videos * frames:
        return pictures
    courses = pictures.reshape(videos, -1, height * width).movedim(1, 2)
    return interpolate(courses, size=frames, mode="linear", align_corners=True).movedim(2, 1).reshape(-1, height, width)


def overlay(images: Tensor, heat: Tensor, opacity: float) -> Tensor:
    """Heatmap (B, h, w, 3) over images of the same shape, converted to grey so that only uncertainty has colour."""
    grey = (images[..., :3] * images.new_tensor([0.299, 0.587, 0.114])).sum(-1, keepdim=True)
    return (1 - opacity) * grey + opacity * heat
