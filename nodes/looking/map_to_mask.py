"""UncertaintyToMask: turns a map into a mask."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...uncertainty.images import heatmaps
from ...uncertainty.images.masks import parse_steps, uncertain_parts
from ...uncertainty.maps import UncertaintyMap
from .. import node_inputs, versions
from .map_preview import image_size


class UncertaintyToMask(io.ComfyNode):
    """Masks the pixels whose value is above a percentile, at image size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyToMask",
            display_name="Uncertainty Map to Mask",
            category=node_inputs.CATEGORY,
            search_aliases=["fix bad parts", "repair", "inpaint", "mask from heatmap"],
            description="Makes a mask that is white where the map is highest, to inpaint only the uncertain parts.",
            inputs=[
                node_inputs.Uncertainty.Input("uncertainty", tooltip="The uncertainty map to turn into a mask."),
                node_inputs.quantity_input(),
                node_inputs.percentile_input(
                    90.0, "Pixels above this percentile of their image become white. 90 selects the highest tenth."
                ),
                io.Int.Input(
                    "grow", default=8, min=0, max=1024, tooltip="How far to grow the white areas in every direction, in pixels."
                ),
                io.Int.Input("feather", default=8, min=0, max=1024, tooltip="How far edges fade out on either side, in pixels."),
                versions.advanced(
                    io.String.Input(
                        "steps",
                        default="",
                        tooltip="The recorded steps to add up, for example 45,46 or 45-48. Leave empty for all.",
                    )
                ),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="The decoded images. Needed only if their size is not 8 times that of the latent.",
                ),
            ],
            outputs=[
                io.Mask.Output("mask", display_name="MASK", tooltip="One mask per image; for videos, one per latent frame.")
            ],
        )

    @classmethod
    def validate_inputs(
        cls, quantity: str | None = None, steps: str | None = None, input_types: dict[str, Any] | None = None
    ) -> bool | str:
        return node_inputs.check_inputs(cls, checks=[(parse_steps, steps)], input_types=input_types, quantity=quantity)

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
        node_inputs.check_types(uncertainty=uncertainty)
        node_inputs.check_choices(cls, quantity=quantity)
        node_inputs.check_same_part(images, uncertainty)
        pictures = heatmaps.as_pictures(uncertainty.summed(quantity, parse_steps(steps)))
        within = None if uncertainty.mask is None else heatmaps.as_pictures(uncertainty.mask)
        height, width = image_size(pictures) if images is None else images.shape[1:3]
        return io.NodeOutput(uncertain_parts(pictures, percentile, grow, feather, (height, width), within))
