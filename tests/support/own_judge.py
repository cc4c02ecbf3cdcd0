"""A judge as a user would bring one."""

from collections.abc import Sequence

from torch import Tensor


def redness(images: Tensor, prompts: Sequence[str]) -> Tensor:
    """How red images (B, 3, H, W) are, (B,)."""
    assert len(images) == len(prompts)
    return images[:, 0].mean((1, 2)) - images[:, 1:].mean((1, 2, 3))
