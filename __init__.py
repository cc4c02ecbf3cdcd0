"""Uncertainty Sampling for ComfyUI: how sure was the model, where, and which images to keep."""

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    """Called by ComfyUI when it loads the pack."""
    # Here, so that tools which import a repository's root need no ComfyUI.
    from .nodes import UncertaintyExtension

    return UncertaintyExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
