"""Where a tile or crop lies in the latent that it was cut from."""

import torch
from torch import Tensor

# Share of the tile's variation that may differ: an image model's encoder sees a tile without its surroundings.
MOST_DIFFERENT = 0.2
# Differences of shares that are rounding.
EQUAL = 1e-4
PLANE = 2
IMAGES = 4  # axes of latents of images; those of videos have more, those of sound fewer


def place(tile: Tensor, whole: Tensor) -> tuple[int, int] | None:
    """Column and row of the tile's corner at which it fits best, by the sum of squared differences.

    Args:
        tile: latents (B, C, ..., height, width).
        whole: latents with the same first axes, at least as high and wide.

    Returns:
        None if it fits nowhere, or at several places alike, as where it shows nothing, or if anything is not finite.
    """
    if tile.ndim < IMAGES or tile.shape[:-PLANE] != whole.shape[:-PLANE]:
        return None
    (height, width), (rows, columns) = tile.shape[-PLANE:], whole.shape[-PLANE:]
    if height > rows or width > columns:
        return None
    tile, whole = (each.flatten(0, -PLANE - 1).float() for each in (tile, whole))
    level = tile.mean((1, 2), keepdim=True)
    tile, whole = tile - level, whole - level
    variation = tile.square().sum()
    if variation <= EQUAL * whole.square().mean() * tile.numel():
        return None
    size = (rows, columns)
    product = torch.fft.rfft2(whole, s=size) * torch.fft.rfft2(tile, s=size).conj()
    shared = torch.fft.irfft2(product, s=size).sum(0)[: rows - height + 1, : columns - width + 1]
    energy = _windows(whole.square().sum(0), height, width)
    different = (energy - 2 * shared + variation) / variation
    best = different.min()
    if not best <= MOST_DIFFERENT or (different <= best + EQUAL).sum() > 1:
        return None
    row, column = divmod(int(different.argmin()), different.shape[1])
    return column, row


def _windows(values: Tensor, height: int, width: int) -> Tensor:
    """Sums over all windows of a size, of a plane (rows, columns)."""
    return torch.nn.functional.avg_pool2d(values[None], (height, width), stride=1, divisor_override=1)[0]
