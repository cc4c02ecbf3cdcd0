"""Latents as nodes pass them on: a tensor, or several that are sampled together (ComfyUI's NestedTensor)."""

from collections.abc import Sequence
from typing import Any

import torch
from comfy.nested_tensor import NestedTensor
from torch import Tensor


def parts(samples: Any) -> list[Tensor]:
    """All latents, (B, C, *spatial) each; one for a plain tensor."""
    return list(samples.unbind()) if samples.is_nested else [samples]


def count(samples: Any) -> int:
    """Number of images B."""
    return len(parts(samples)[0])


def select(samples: Any, images: Sequence[int], batch: int) -> Any:
    """The rows of some images, of each tensor that has one row for each of the batch; others, such as one mask for all, stay."""
    rows = torch.as_tensor(list(images), dtype=torch.long)
    chosen = [tensor[rows] if len(tensor) == batch else tensor for tensor in parts(samples)]
    return NestedTensor(chosen) if samples.is_nested else chosen[0]
