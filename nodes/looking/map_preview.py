"""UncertaintyMapPreview: show a map, alone or over the images."""

import math
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...uncertainty.images import heatmaps
from ...uncertainty.maps import UncertaintyMap
from .. import node_inputs, versions
from . import map_preview_view

# Usual scale factor between latents and images.
LATENT_SCALE = 8
# Most pixels of a picture that is as large as the map says, which may come from a file.
MOST_PIXELS = 8192 * 8192


def image_size(pictures: Tensor) -> tuple[int, int]:
    """Usual height and width of the images of maps (B, h, w), less for a map of more than 1024 x 1024 elements."""
    height, width = pictures.shape[1:]
    scale = min(LATENT_SCALE, max(1, math.isqrt(MOST_PIXELS // (height * width))))
    return height * scale, width * scale


class UncertaintyMapPreview(io.ComfyNode):
    """Shows the map in the node and outputs it as images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A map, optional images to show under it, and the colours."""
        return versions.schema(
            node_id="UncertaintyMapPreview",
            display_name="Preview Uncertainty Map",
            category=node_inputs.CATEGORY,
            search_aliases=["heatmap", "heat map", "overlay", "where is it wrong", "view map"],
            essentials_category=node_inputs.ESSENTIALS,
            description="Shows where the model was uncertain, as a heatmap or over the images.",
            is_output_node=True,
            inputs=[
                node_inputs.Uncertainty.Input("uncertainty", tooltip="The uncertainty map to show."),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="The decoded images, or all frames of the decoded videos, to show under the map.",
                ),
                node_inputs.quantity_input(),
                io.Int.Input(
                    "step", default=-1, min=-1, max=9999, tooltip="The recorded step to show. -1 shows the sum of all steps."
                ),
                versions.advanced(
                    io.Combo.Input(
                        "colormap", options=list(heatmaps.COLORMAPS), tooltip="The colours of the heatmap, from low to high."
                    )
                ),
                io.Float.Input(
                    "opacity", default=0.6, min=0.0, max=1.0, step=0.05, tooltip="How strongly the heatmap covers the image."
                ),
                versions.advanced(
                    io.Combo.Input(
                        "normalize",
                        options=list(heatmaps.NORMALIZATIONS),
                        tooltip=(
                            "How to assign colours. image: full colour range in every image or video. batch: one range for all, "
                            "so that images can be compared. absolute: 0 to 1 in latent units, so that runs can be compared."
                        ),
                    )
                ),
            ],
            outputs=[
                io.Image.Output("heatmap", display_name="heatmap", tooltip="The map as a picture, one for each image or frame."),
                io.Image.Output(
                    "overlay", display_name="overlay", tooltip="The map over the images; the heatmap without images."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        quantity: str | None = None,
        colormap: str | None = None,
        normalize: str | None = None,
        input_types: dict[str, Any] | None = None,
    ) -> bool | str:
        return node_inputs.check_inputs(cls, input_types=input_types, quantity=quantity, colormap=colormap, normalize=normalize)

    @classmethod
    def execute(
        cls,
        uncertainty: UncertaintyMap,
        quantity: str,
        step: int,
        colormap: str,
        opacity: float,
        normalize: str,
        images: Tensor | None = None,
    ) -> io.NodeOutput:
        """Draw heatmap and overlay, and write the files with which the view in the node can draw all others."""
        node_inputs.check_types(uncertainty=uncertainty)
        node_inputs.check_choices(cls, quantity=quantity, colormap=colormap, normalize=normalize)
        node_inputs.check_same_part(images, uncertainty)
        frames = 1 if images is None else node_inputs.pictures_each("images", len(images), uncertainty)
        pictures = heatmaps.as_pictures(uncertainty.summed(quantity, None if step < 0 else [step]))
        # All frames of a video share a colour scale, so that colours do not flicker.
        low, high = heatmaps.value_range(map_preview_view.joined(pictures, uncertainty.images), normalize)
        if images is None:
            height, width = image_size(pictures)
            ends = (end.repeat_interleave(len(pictures) // uncertainty.images) for end in (low, high))
        else:
            height, width = images.shape[1:3]
            pictures = heatmaps.retime(pictures, uncertainty.images, frames)
            ends = (end.repeat_interleave(frames) for end in (low, high))
        heatmap = heatmaps.colorize(heatmaps.scaled(heatmaps.resize(pictures, height, width), *ends), colormap)
        overlay = heatmap if images is None else heatmaps.overlay(images.float().cpu(), heatmap, opacity)
        ran = {"quantity": quantity, "step": step, "colormap": colormap, "opacity": opacity, "normalize": normalize}
        return io.NodeOutput(heatmap, overlay, ui=map_preview_view.write(uncertainty, images, overlay, ran))
