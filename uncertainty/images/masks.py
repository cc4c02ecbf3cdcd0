"""From a map to a mask of its uncertain parts, at image size, for inpainting."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv1d, max_pool2d, pad

from ..guidance import uncertain_elements
from .heatmaps import resize


def parse_steps(text: str) -> list[int] | None:
    """Step numbers out of ``45, 46`` or ``45-48`` or both; None for an empty text, which means all.

    Raises:
        ValueError: it is neither.
    """
    if not text.strip():
        return None
    steps: list[int] = []
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) < int(first) + 10_000):
            raise ValueError(f"steps must be empty for all, or like 45,46 or 45-48, got {text!r}.")
        steps += range(int(first), int(last) + 1)
    return list(dict.fromkeys(steps))


def uncertain_parts(
    pictures: Tensor, percentile: float, grow: int, feather: int, size: tuple[int, int], within: Tensor | None = None
) -> Tensor:
    """Mask (B, height, width), 0 to 1, of the pixels above a percentile of their picture.

    Args:
        pictures: uncertainty, channels averaged, (B, h, w).
        percentile: 0 to 100, of the pixels at image size.
        grow: pixels by which the white parts grow in every direction.
        feather: pixels, to both sides, over which the edges then fade.
        size: height and width of the image.
        within: the only parts that count and can be chosen, (B, h, w).
    """
    larger = resize(pictures, *size)[:, None]
    allowed = None if within is None else resize(within, *size)[:, None]
    mask = uncertain_elements(larger, percentile, allowed).float()
    grown = _both_ways(mask, lambda rows: max_pool2d(rows, (1, 2 * grow + 1), stride=1, padding=(0, grow)))
    return _both_ways(grown, lambda rows: _blurred(rows, feather))[:, 0].clamp(0, 1)


def _both_ways(mask: Tensor, along_rows: Callable[[Tensor], Tensor]) -> Tensor:
    """Rows, then columns of (B, 1, h, w): squares and Gaussians come apart like that."""
    return along_rows(along_rows(mask).mT).mT


def _blurred(rows: Tensor, radius: int) -> Tensor:
    """Each row of (B, 1, h, w) under a Gaussian that ends after two standard deviations; borders go on as they are."""
    if not radius:
        return rows
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = torch.exp(-2 * (offsets / radius).square())
    flat = rows.flatten(0, 2)[:, None]
    padded = pad(flat, (radius, radius), mode="replicate")
    return conv1d(padded, (weights / weights.sum())[None, None]).reshape(rows.shape)
