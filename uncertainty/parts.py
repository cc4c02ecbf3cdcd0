"""Latents that are sampled together but have shapes of their own, such as a video and its sound, packed into one tensor.

Packed, each image of a batch is one row with one channel: the elements of its first part, then those of the next. What treats
each element for itself works on the rows as they are. Whatever looks at neighbours, channels or means goes by part.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Parts:
    """The parts of packed latents, or the only part of plain ones, which are never copied nor reshaped.

    Attributes:
        shapes: shape of each part without its batch, (C, *spatial).
    """

    shapes: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        """Number of parts; 1 if the latents are plain."""
        return len(self.shapes)

    @property
    def numbers(self) -> list[int | None]:
        """The number of each part among the settings of its map; None for plain latents, whose maps have none."""
        return list(range(len(self))) if len(self) > 1 else [None]

    def split(self, packed: Tensor) -> list[Tensor]:
        """The parts (..., C, *spatial) of a packed tensor (..., 1, N); a plain tensor is its only part.

        Raises:
            ValueError: N is not the number of elements of these parts.
        """
        if len(self) == 1:
            return [packed]
        sizes = [math.prod(shape) for shape in self.shapes]
        if packed.shape[-2:] != (1, sum(sizes)):
            shown = " and ".join("×".join(map(str, shape)) for shape in self.shapes)
            raise ValueError(f"parts of {shown} must be packed into shape (..., 1, {sum(sizes)}), got {tuple(packed.shape)}.")
        # In memory like a latent of its own, so that sums over a part have the same last bits.
        pieces = [piece.contiguous() for piece in torch.split(packed, sizes, -1)]
        return [piece.reshape(*packed.shape[:-2], *shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Undo ``split``."""
        if len(self) == 1:
            return tensors[0]
        rows = [tensor.flatten(-len(shape))[..., None, :] for tensor, shape in zip(tensors, self.shapes, strict=True)]
        return torch.cat(rows, -1)

    def masks(self, mask: Tensor | None) -> list[Tensor | None]:
        """The mask of each part, (B, 1, *spatial), from that of packed latents (B, 1, N): what it is for the first channel."""
        return [None] * len(self) if mask is None else [each[:, :1] for each in self.split(mask)]

    def each(self, function: Callable[..., Tensor], *packed: Tensor, **masks: Tensor | None) -> Tensor:
        """What ``function`` makes of the parts of packed tensors, packed again.

        Args:
            function: called for each part with its tensors (..., C, *spatial); returns one of that shape.
            packed: (..., 1, N) each.
            masks: passed to the function by name, as ``masks`` gives them.
        """
        within = {name: self.masks(mask) for name, mask in masks.items()}
        made = [
            function(*tensors, **{name: each[part] for name, each in within.items()})
            for part, tensors in enumerate(zip(*map(self.split, packed), strict=True))
        ]
        return self.join(made)


def plain(shape: Sequence[int]) -> Parts:
    """The parts of plain latents, of which each has this shape, (C, *spatial): one."""
    return Parts((tuple(shape),))
