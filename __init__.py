"""Uncertainty Sampling for ComfyUI: how sure was the model, where, and which images to keep."""

from .nodes import UncertaintyExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> UncertaintyExtension:
    """Called by ComfyUI when it loads the pack."""
    return UncertaintyExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
