"""UncertaintyPlot: plots uncertainty over the recorded steps."""

from comfy_api.latest import io

from ...uncertainty.images.steps_plot import plot
from ...uncertainty.maps import UncertaintyMap
from .. import node_inputs, versions


class UncertaintyPlot(io.ComfyNode):
    """Plots the mean and spread over the images at each recorded step."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyPlot",
            display_name="Plot Uncertainty per Step",
            category=node_inputs.CATEGORY,
            search_aliases=["chart", "curve", "graph"],
            description="Plots every quantity over the recorded steps, with its mean and spread over the images.",
            inputs=[node_inputs.Uncertainty.Input("uncertainty", tooltip="The uncertainty map to plot.")],
            outputs=[io.Image.Output("plot", display_name="IMAGE", tooltip="The plot as a picture.")],
        )

    @classmethod
    def execute(cls, uncertainty: UncertaintyMap) -> io.NodeOutput:
        node_inputs.check_types(uncertainty=uncertainty)
        return io.NodeOutput(plot(uncertainty)[None])
