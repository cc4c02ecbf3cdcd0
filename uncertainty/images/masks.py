"""Inpainting masks at image size of the uncertain parts of a map."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv1d, max_pool2d, pad

from ..guidance import uncertain_elements
from .heatmaps import resize

# Longer texts could name the same steps thousands of times.
LONGEST = 1000


def parse_steps(text: str) -> list[int] | None:
    """Step numbers from a text such as ``45, 46``, ``45-48`` or ``1, 45-48``; None, meaning all steps, for an empty text.

    Raises:
        ValueError: the text has another form.
    """
    if not text.strip():
        return None
    if len(text) > LONGEST:
        raise ValueError(f"steps must have at most {LONGEST} characters, got {len(text)}.")
    steps: list[int] = []
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) < int(first) + 10_000):
            raise ValueError(f"steps must be empty for all steps, or a list such as 45,46 or 45-48, got {text!r}.")
        steps += range(int(first), int(last) + 1)
    return list(dict.fromkeys(steps))


def uncertain_parts(
    pictures: Tensor, percentile: float, grow: int, feather: int, size: tuple[int, int], within: Tensor | None = None
) -> Tensor:
    """Mask (B, height, width), 0 to 1, of the pixels above a percentile of their picture.

    Args:
        pictures: uncertainty, averaged over channels, (B, h, w).
        percentile: 0 to 100, over the pixels at image size.
        grow: number of pixels by which the white parts grow in every direction.
        feather: number of pixels, on both sides, over which the edges then fade.
        size: height and width of the image.
        within: (B, h, w); pixels outside it are neither chosen nor counted.
    """
    larger = resize(pictures, *size)[:, None]
    allowed = None if within is None else resize(within, *size)[:, None]
    mask = uncertain_elements(larger, percentile, allowed).float()
    grown = _both_ways(mask, lambda rows: max_pool2d(rows, (1, 2 * grow + 1), stride=1, padding=(0, grow)))
    return _both_ways(grown, lambda rows: _blurred(rows, feather))[:, 0].clamp(0, 1)


def _both_ways(mask: Tensor, along_rows: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a separable filter to the rows and then to the columns of (B, 1, h, w)."""
    return along_rows(along_rows(mask).mT).mT


def _blurred(rows: Tensor, radius: int) -> Tensor:
    """Each row of (B, 1, h, w) blurred by a Gaussian cut off at two standard deviations, with replicated borders."""
    if not radius:
        return rows
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = torch.exp(-2 * (offsets / radius).square())
    flat = rows.flatten(0, 2)[:, None]
    padded = pad(flat, (radius, radius), mode="replicate")
    return conv1d(padded, (weights / weights.sum())[None, None]).reshape(rows.shape)
