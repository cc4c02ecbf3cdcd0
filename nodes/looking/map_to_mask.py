"""UncertaintyToMask: the uncertain parts of the images, as a mask."""

from comfy_api.latest import io
from torch import Tensor

from ...uncertainty.images import heatmaps
from ...uncertainty.images.masks import parse_steps, uncertain_parts
from ...uncertainty.maps import UncertaintyMap
from .. import node_inputs
from .map_preview import LATENT_SCALE


class UncertaintyToMask(io.ComfyNode):
    """A map above a percentile, at image size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A map, how much of it, and the shape of the edges."""
        return io.Schema(
            node_id="UncertaintyToMask",
            display_name="Uncertainty Map to Mask",
            category=node_inputs.CATEGORY,
            description="White where the map is highest, to inpaint just the uncertain parts.",
            inputs=[
                node_inputs.Uncertainty.Input("uncertainty", tooltip="From an uncertainty sampler."),
                node_inputs.quantity_input(),
                io.Float.Input(
                    "percentile",
                    default=90.0,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    round=0.01,
                    tooltip="Pixels above this percentile of their image become white: 90 takes the highest tenth.",
                ),
                io.Int.Input("grow", default=8, min=0, max=1024, tooltip="Pixels by which white parts grow in every direction."),
                io.Int.Input("feather", default=8, min=0, max=1024, tooltip="Pixels, to both sides, over which edges fade."),
                io.String.Input("steps", default="", tooltip="Which recorded steps to add up: 45,46 or 45-48; empty for all."),
                io.Image.Input("images", optional=True, tooltip="The decoded images, if their size is not 8 times the latent's."),
            ],
            outputs=[io.Mask.Output("mask", display_name="MASK", tooltip="A mask an image; for videos, one a latent frame.")],
        )

    @classmethod
    def validate_inputs(cls, quantity: str | None = None, steps: str | None = None) -> bool | str:
        """Refuse what cannot work before anything runs."""
        return node_inputs.check_inputs(cls, checks=[(parse_steps, steps)], quantity=quantity)

    @classmethod
    def execute(
        cls,
        uncertainty: UncertaintyMap,
        quantity: str,
        percentile: float,
        grow: int,
        feather: int,
        steps: str,
        images: Tensor | None = None,
    ) -> io.NodeOutput:
        """Add up the steps, cut, and shape the edges."""
        node_inputs.check_types(uncertainty=uncertainty)
        rows = uncertainty.rows(parse_steps(steps))
        pictures = heatmaps.as_pictures(uncertainty.quantity(quantity)[rows].sum(0))
        within = None if uncertainty.mask is None else heatmaps.as_pictures(uncertainty.mask)
        height, width = (size * LATENT_SCALE for size in pictures.shape[1:]) if images is None else images.shape[1:3]
        return io.NodeOutput(uncertain_parts(pictures, percentile, grow, feather, (height, width), within))
