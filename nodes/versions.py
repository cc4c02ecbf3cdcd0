"""What differs between versions of ComfyUI, and only that: 0.3.75 is the one the tests run in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management


def streams_weights(patcher: Any) -> bool:
    """Whether weights pass through memory that is used again (dynamic VRAM, in versions after 0.3.75)."""
    is_dynamic = getattr(patcher, "is_dynamic", None)
    return is_dynamic is not None and bool(is_dynamic())


@contextmanager
def differentiable() -> Iterator[None]:
    """Let networks take their operations that have a backward pass.

    Versions after 0.3.75 rotate and normalise by kernels of their own, which have none, unless this flag of theirs is set.
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
