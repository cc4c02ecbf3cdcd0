"""What differs between versions of ComfyUI, and only that: 0.3.75 is the one the tests run in."""

from typing import Any


def streams_weights(patcher: Any) -> bool:
    """Whether weights pass through memory that is used again (dynamic VRAM, in versions after 0.3.75)."""
    is_dynamic = getattr(patcher, "is_dynamic", None)
    return is_dynamic is not None and bool(is_dynamic())
