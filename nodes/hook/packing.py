"""Several latents that a model samples together, which ComfyUI packs into one."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...uncertainty.parts import Parts, plain


def parts_of(guider: Any, shape: Sequence[int]) -> Parts:
    """The parts of what a guider is sampling, latents of this shape: (B, C, *spatial), or (B, 1, N) if they are packed.

    The network finds the shapes of packed latents in its prompts, and so do we.
    """
    shapes = packed_shapes(guider)
    return Parts(shapes) if shapes else plain(shape[1:])


def all_parts(latents: Tensor, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    """The parts, (B, C, *spatial), of latents with parts of these shapes with the batch; plain ones are their only part."""
    return [latents] if len(shapes) < 2 else Parts(_without_batch(shapes)).split(latents)


def packed_shapes(guider: Any) -> tuple[tuple[int, ...], ...]:
    """Shape of each part of the packed latents that a guider is sampling, without its batch; () if they are not packed."""
    for cond in (cond for group in guider.conds.values() for cond in group or ()):
        held = cond.get("model_conds", {}).get("latent_shapes")
        if held is not None and len(held.cond) > 1:
            return _without_batch(held.cond)
    return ()


def _without_batch(shapes: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(shape[1:]) for shape in shapes)
