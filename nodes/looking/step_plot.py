"""UncertaintyPlot: uncertainty per step as a picture."""

from comfy_api.latest import io

from ...uncertainty.images.steps_plot import plot
from ...uncertainty.maps import UncertaintyMap
from .. import node_inputs


class UncertaintyPlot(io.ComfyNode):
    """Mean and spread over images at each recorded step."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A map; nothing to choose."""
        return io.Schema(
            node_id="UncertaintyPlot",
            display_name="Plot Uncertainty per Step",
            category=node_inputs.CATEGORY,
            description="Draws all three quantities over the recorded steps: their mean and spread over the images.",
            inputs=[node_inputs.Uncertainty.Input("uncertainty", tooltip="From an uncertainty sampler.")],
            outputs=[io.Image.Output("plot", display_name="IMAGE")],
        )

    @classmethod
    def execute(cls, uncertainty: UncertaintyMap) -> io.NodeOutput:
        """Draw it."""
        node_inputs.check_types(uncertainty=uncertainty)
        return io.NodeOutput(plot(uncertainty)[None])
