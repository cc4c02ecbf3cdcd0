"""Restart of a region: noise it again to a higher level and sample it again, while the rest stays on its path.

Restart sampling (Xu et al. 2023, arXiv 2306.14878) runs the forward process from a low noise level back to a higher one and
samples down again, which contracts the errors made so far. Here only some elements restart; the others keep the latents that
they had at each level, as inpainting keeps its known part (RePaint, Lugmayr et al. 2022, arXiv 2201.09865).
"""

import torch
from torch import Tensor

from .noising import Noising, per_image


def renoised(x: Tensor, low: Noising, high: Noising, noise: Tensor) -> Tensor:
    """Latents at a higher noise level, by the forward process from a lower one.

    With ``x = a·x0 + b·n`` at the low level and a', b' at the high one,

        x' = (a'/a)·x + √(b'² - (a'·b/a)²)·n'

    has the signal a'·x0 and, since n and n' are independent, noise of variance (a'·b/a)² + b'² - (a'·b/a)² = b'². For
    variance-exploding processes it is ``x + √(σ'² - σ²)·n'``.

    Args:
        x: latents at the low level, (B, C, *spatial).
        low: coefficients of the low level.
        high: coefficients of the high level.
        noise: standard normal, same shape as x.

    Raises:
        ValueError: the high level has less noise for its signal than the low one.
    """
    kept, before, after = high.a / low.a, low.b * high.a / low.a, high.b
    if not bool(torch.all(after >= before)):
        raise ValueError(
            f"a restart must lead to a level with at least as much noise, got b/a = {(high.b / high.a).tolist()} after "
            f"{(low.b / low.a).tolist()}: restart at an earlier step."
        )
    added = (after.square() - before.square()).sqrt()
    return per_image(kept, x.ndim) * x + per_image(added, x.ndim) * noise


def restarted(x: Tensor, earlier: Tensor, region: Tensor, low: Noising, high: Noising, noise: Tensor) -> Tensor:
    """Latents at the high level of which only a region restarts; the rest are the latents that it had there.

    Args:
        x: latents at the low level, (B, C, *spatial).
        earlier: latents of the same images when they were at the high level, same shape.
        region: the elements that restart, boolean, broadcastable to x.
        low: coefficients of the low level.
        high: coefficients of the high level.
        noise: standard normal, same shape as x.

    Raises:
        ValueError: as ``renoised``.
    """
    return torch.where(region, renoised(x, low, high, noise), earlier)
