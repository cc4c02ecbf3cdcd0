"""UncertaintyMapPreview: look at a map, alone or over the images."""

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..uncertainty import render
from ..uncertainty.maps import UncertaintyMap
from . import common

# Latents are usually this much smaller than their images.
LATENT_SCALE = 8


class UncertaintyMapPreview(io.ComfyNode):
    """Shows the map in the node and hands it on as images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A map, images to lay it over, and how to colour it."""
        return io.Schema(
            node_id="UncertaintyMapPreview",
            display_name="Preview Uncertainty Map",
            category=common.CATEGORY,
            description="Shows where the model was unsure, as a heatmap or over the images.",
            is_output_node=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                common.Uncertainty.Input("uncertainty", tooltip="From an uncertainty sampler."),
                io.Image.Input(
                    "images", optional=True, tooltip="The decoded images, or all frames of the decoded videos, for an overlay."
                ),
                common.quantity_input(),
                io.Int.Input("step", default=-1, min=-1, max=9999, tooltip="Which recorded step to show; -1 shows their sum."),
                io.Combo.Input("colormap", options=list(render.COLORMAPS), tooltip="Colours from low to high."),
                io.Float.Input(
                    "opacity", default=0.6, min=0.0, max=1.0, step=0.05, tooltip="How strongly the heatmap covers the image."
                ),
                io.Combo.Input(
                    "normalize",
                    options=list(render.NORMALIZATIONS),
                    tooltip=(
                        "image: full colour range in every image or video; batch: one range for all, images can be compared; "
                        "absolute: 0 to 1 in latent units, runs can be compared."
                    ),
                ),
            ],
            outputs=[io.Image.Output("heatmap", display_name="heatmap"), io.Image.Output("overlay", display_name="overlay")],
        )

    @classmethod
    def validate_inputs(
        cls, quantity: str | None = None, colormap: str | None = None, normalize: str | None = None
    ) -> bool | str:
        """Refuse what cannot work before anything runs."""
        return common.check_inputs(cls, quantity=quantity, colormap=colormap, normalize=normalize)

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
        """Draw heatmap and overlay; the overlay is what the node shows."""
        rows = uncertainty.rows(None if step < 0 else [step])
        pictures = render.as_pictures(uncertainty.quantity(quantity)[rows].sum(0))
        if images is None:
            height, width = (size * LATENT_SCALE for size in pictures.shape[1:])
        else:
            height, width = images.shape[1:3]
            frames = common.pictures_each("images", len(images), uncertainty)
            pictures = render.retime(pictures, uncertainty.images, frames)
        resized = render.resize(pictures, height, width)
        # A video is one picture to the colour scale: its colours must not flicker from frame to frame.
        values = render.normalize(resized.reshape(uncertainty.images, -1, width), normalize).reshape(resized.shape)
        heatmap = render.colorize(values, colormap)
        overlay = heatmap if images is None else render.overlay(images.float().cpu(), heatmap, opacity)
        label = f"{quantity}_{'sum' if step < 0 else f'step{step}'}"
        return io.NodeOutput(heatmap, overlay, ui=cls._show(overlay, label))

    @classmethod
    def _show(cls, pictures: Tensor, label: str) -> dict[str, Any]:
        """Pictures in ComfyUI's temporary folder, named after what they show."""
        saved = ui.ImageSaveHelper.save_images(pictures, f"uncertainty_{label}", io.FolderType.temp, cls, compress_level=1)
        return {"images": saved, "animated": (False,)}
