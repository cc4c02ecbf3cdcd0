"""Weights that ComfyUI streams, layer by layer, through memory that it reuses, so that a backward pass cannot read them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.ops
from torch import Tensor


def are_streamed(patcher: Any) -> bool:
    """Whether weights of a model may be streamed.

    They are where they do not fit on the card and, in versions after 0.3.75 (dynamic VRAM), with any model there.
    """
    is_dynamic = getattr(patcher, "is_dynamic", None)
    return bool(patcher.model.model_lowvram) or (is_dynamic is not None and bool(is_dynamic()))


@contextmanager
def lasting_weights() -> Iterator[None]:
    """Within this context, layers compute with copies of streamed weights, which nothing overwrites.

    It reaches layers that find the function in ``comfy.ops``, as ComfyUI's own do.
    """
    cast = comfy.ops.cast_bias_weight

    def copied(*args: Any, **kwargs: Any) -> Any:
        return tuple(part.clone() if isinstance(part, Tensor) else part for part in cast(*args, **kwargs))

    comfy.ops.cast_bias_weight = copied
    try:
        yield
    finally:
        if comfy.ops.cast_bias_weight is copied:  # another pack may have replaced it since
            comfy.ops.cast_bias_weight = cast
