"""UncertaintySparsification: tests whether uncertainty is high where an image is wrong."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...uncertainty.images import sparsification_plot
from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.metrics import error_map
from .. import node_inputs, versions


class UncertaintySparsification(io.ComfyNode):
    """Compares a map with the true error, given the true images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintySparsification",
            display_name="Plot Sparsification",
            category=node_inputs.CATEGORY,
            search_aliases=["ause", "evaluate map", "error"],
            description=(
                "Tests how well a map predicts errors where the true image is known, for example after noising and denoising a "
                "real image. Removes the most uncertain pixels first and plots the error of the rest: the faster it falls, the "
                "better the map."
            ),
            inputs=[
                node_inputs.Uncertainty.Input(
                    "uncertainty", tooltip="The uncertainty map to test, from the sampler that made the images."
                ),
                io.Image.Input("images", tooltip="The sampled images, decoded."),
                io.Image.Input("ground_truth", tooltip="The true images, of the same size: one for all, or one for each image."),
                node_inputs.quantity_input(),
            ],
            outputs=[
                io.Image.Output("plot", display_name="IMAGE", tooltip="The plot of all images as a picture."),
                io.Float.Output(
                    "ause",
                    display_name="AUSE",
                    is_output_list=True,
                    tooltip="Area between the sparsification curve and the best possible one, for each image. 0 is best.",
                ),
                io.Float.Output(
                    "aurg",
                    display_name="AURG",
                    is_output_list=True,
                    tooltip="Area between the curve for random removal and this one, for each image. 0 is no better than chance.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, quantity: str | None = None, input_types: dict[str, Any] | None = None) -> bool | str:
        return node_inputs.check_inputs(cls, input_types=input_types, quantity=quantity)

    @classmethod
    def execute(cls, uncertainty: UncertaintyMap, images: Tensor, ground_truth: Tensor, quantity: str) -> io.NodeOutput:
        node_inputs.check_types(uncertainty=uncertainty)
        node_inputs.check_choices(cls, quantity=quantity)
        results = error_map.of_images(ground_truth[..., :3].cpu(), images[..., :3].cpu(), uncertainty, quantity)
        picture = sparsification_plot.plot(results, f"Sparsification by {quantity}")
        return io.NodeOutput(picture[None], [each.ause for each in results], [each.aurg for each in results])
