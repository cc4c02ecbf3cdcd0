"""All differences between versions of ComfyUI that matter here. The tests run in 0.3.75."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management


def streams_weights(patcher: Any) -> bool:
    """Whether weights are streamed through reused memory (dynamic VRAM, in versions after 0.3.75)."""
    is_dynamic = getattr(patcher, "is_dynamic", None)
    return is_dynamic is not None and bool(is_dynamic())


@contextmanager
def differentiable() -> Iterator[None]:
    """Within this context, networks use operations that have a backward pass.

    Versions after 0.3.75 rotate and normalise with their own kernels, which have none, unless their training flag is set.
    """
    module = comfy.model_management
    if not hasattr(module, "in_training"):
        yield
        return
    before, module.in_training = module.in_training, True
    try:
        yield
    finally:
        module.in_training = before
