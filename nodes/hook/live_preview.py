"""Shows the current maps of the batch over ComfyUI's step previews during sampling."""

import math
from collections.abc import Callable, Sequence
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


def with_map(
    callback: Callable[..., None] | None,
    guider: Any,
    current: Callable[[], Tensor | None],
    first: Callable[[Tensor], Tensor],
) -> Callable[..., None]:
    """A step callback that also sends a preview of all images of the batch with their maps over them.

    Args:
        callback: the sampler's own callback, which is called first.
        guider: the guider of the run.
        current: returns the latest map of the batch, (B, C, *spatial), or None before there is one.
        first: returns the first part of packed latents, which is shown.
    """
    previewer = latent_preview.get_previewer(guider.model_patcher.load_device, guider.inner_model.latent_format)

    def called(step: int, denoised: Tensor, x: Tensor, total: int) -> None:
        if callback is not None:
            callback(step, denoised, x, total)
        uncertainty = current()
        if uncertainty is not None:
            # ComfyUI's previewers decode the first image of what they get.
            images = None
            if previewer is not None:
                images = [previewer.decode_latent_to_preview(image) for image in first(denoised).split(1)]
            preview = ("JPEG", picture(uncertainty, images), latent_preview.MAX_PREVIEW_RESOLUTION)
            comfy.utils.ProgressBar(total).update_absolute(step + 1, total, preview)

    return called


def picture(uncertainty: Tensor, images: Sequence[Image.Image] | None) -> Image.Image:
    """The maps of a batch, (B, C, *spatial), over its images or alone: in a grid with one colour scale; of videos, a frame.

    The grid is hardly larger than ComfyUI sends it.
    """
    pictures = heatmaps.as_pictures(uncertainty.cpu())
    pictures = pictures[:: len(pictures) // len(uncertainty)]
    height, width = (size * ENLARGE for size in pictures.shape[1:]) if images is None else (images[0].height, images[0].width)
    shrink = min(1.0, latent_preview.MAX_PREVIEW_RESOLUTION / (_columns(len(pictures)) * max(height, width)))
    height, width = max(1, round(shrink * height)), max(1, round(shrink * width))
    heat = heatmaps.colorize(heatmaps.resize(heatmaps.normalize(pictures, "batch"), height, width), COLORMAP)
    if images is not None:
        ground = np.stack([np.asarray(image.convert("RGB").resize((width, height)), np.float32) for image in images])
        heat = heatmaps.overlay(torch.from_numpy(ground / 255), heat, OPACITY)
    return Image.fromarray((grid(heat) * 255).round().byte().numpy())


def grid(pictures: Tensor) -> Tensor:
    """Pictures (B, height, width, 3) row by row in a square that has room for them, black where there is none."""
    count, height, width, channels = pictures.shape
    columns = _columns(count)
    rows = math.ceil(count / columns)
    square = pictures.new_zeros(rows * columns, height, width, channels)
    square[:count] = pictures
    return square.unflatten(0, (rows, columns)).transpose(1, 2).reshape(rows * height, columns * width, channels)


def _columns(count: int) -> int:
    return math.ceil(math.sqrt(count))
