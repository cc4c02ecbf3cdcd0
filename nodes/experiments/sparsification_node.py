"""UncertaintySparsification: does uncertainty tell where an image is wrong?"""

from comfy_api.latest import io
from torch import Tensor

from ...uncertainty.images import sparsification_plot
from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.metrics import error_map
from .. import node_inputs


class UncertaintySparsification(io.ComfyNode):
    """Compares a map with the true error, where what is true is known."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A map, what was sampled, and what is true."""
        return io.Schema(
            node_id="UncertaintySparsification",
            display_name="Plot Sparsification",
            category=node_inputs.CATEGORY,
            description=(
                "Where the true image is known, as when a real one was noised and denoised again: leaves out the most uncertain "
                "pixels first and draws the error of the rest. The faster it falls, the better uncertainty tells errors."
            ),
            inputs=[
                node_inputs.Uncertainty.Input("uncertainty", tooltip="From the sampler that made the images."),
                io.Image.Input("images", tooltip="What was sampled, decoded."),
                io.Image.Input("ground_truth", tooltip="What is true: one image for all, or one each, of the same size."),
                node_inputs.quantity_input(),
            ],
            outputs=[
                io.Image.Output("plot", display_name="IMAGE"),
                io.Float.Output(
                    "ause",
                    display_name="AUSE",
                    is_output_list=True,
                    tooltip="One an image: 0 if it sorts as the error does.",
                ),
                io.Float.Output("aurg", display_name="AURG", is_output_list=True, tooltip="One an image: 0 is chance."),
            ],
        )

    @classmethod
    def validate_inputs(cls, quantity: str | None = None) -> bool | str:
        """Refuse what cannot work before anything runs."""
        return node_inputs.check_inputs(cls, quantity=quantity)

    @classmethod
    def execute(cls, uncertainty: UncertaintyMap, images: Tensor, ground_truth: Tensor, quantity: str) -> io.NodeOutput:
        """Measure and draw."""
        node_inputs.check_types(uncertainty=uncertainty)
        found = error_map.of_images(ground_truth[..., :3].cpu(), images[..., :3].cpu(), uncertainty, quantity)
        picture = sparsification_plot.plot(found, f"Sparsification by {quantity}")
        return io.NodeOutput(picture[None], [each.ause for each in found], [each.aurg for each in found])
