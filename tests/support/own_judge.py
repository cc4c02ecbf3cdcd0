"""A judge as a user would write it."""

from collections.abc import Sequence

from torch import Tensor


def redness(images: Tensor, prompts: Sequence[str]) -> Tensor:
    """Redness (B,) of images (B, 3, H, W)."""
    assert len(images) == len(prompts)
    return images[:, 0].mean((1, 2)) - images[:, 1:].mean((1, 2, 3))
