"""Shows the current map over ComfyUI's step preview during sampling."""

from collections.abc import Callable
from typing import Any

import comfy.utils
import latent_preview
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...uncertainty.images import heatmaps

COLORMAP, OPACITY = "magma", 0.6

# If ComfyUI's previews are off, the map is shown alone, enlarged by this factor.
ENLARGE = 8


def with_map(callback: Callable[..., None] | None, guider: Any, current: Callable[[], Tensor | None]) -> Callable[..., None]:
    """A step callback that also sends a preview of the first image with the map over it.

    Args:
        callback: the sampler's own callback, which is called first.
        guider: the guider of the run.
        current: returns the latest map of the batch, (B, C, *spatial), or None before there is one.
    """
    previewer = latent_preview.get_previewer(guider.model_patcher.load_device, guider.inner_model.latent_format)

    def called(step: int, denoised: Tensor, x: Tensor, total: int) -> None:
        if callback is not None:
            callback(step, denoised, x, total)
        uncertainty = current()
        if uncertainty is not None:
            image = None if previewer is None else previewer.decode_latent_to_preview(denoised)
            preview = ("JPEG", picture(uncertainty[:1], image), latent_preview.MAX_PREVIEW_RESOLUTION)
            comfy.utils.ProgressBar(total).update_absolute(step + 1, total, preview)

    return called


def picture(uncertainty: Tensor, image: Image.Image | None) -> Image.Image:
    """The map of one image, (1, C, *spatial), over the image or, without an image, alone."""
    pictures = heatmaps.as_pictures(uncertainty.cpu())[:1]
    height, width = (size * ENLARGE for size in pictures.shape[1:]) if image is None else (image.height, image.width)
    heat = heatmaps.colorize(heatmaps.resize(heatmaps.normalize(pictures, "image"), height, width), COLORMAP)
    if image is not None:
        ground = torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 255)
        heat = heatmaps.overlay(ground[None], heat, OPACITY)
    return Image.fromarray((heat[0] * 255).round().byte().numpy())
