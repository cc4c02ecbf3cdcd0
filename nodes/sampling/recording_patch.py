"""UncertaintyRecord: a model patch that measures in any sampler."""

from typing import Any

from comfy_api.latest import io

from ...uncertainty.options import Options, RunSettings
from ...uncertainty.window import Window
from .. import node_inputs, versions
from ..hook.every_sampling import record_every_sampling
from ..hook.recording import Recording
from . import measuring_inputs

# The samplers' default. Only guidance uses it, and a recording does not guide.
PERCENTILE = 95.0


class UncertaintyRecord(io.ComfyNode):
    """Records each sampling of a model by other nodes, whose images stay the same."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyRecord",
            display_name="Record Uncertainty",
            category=node_inputs.CATEGORY,
            search_aliases=["measure", "any sampler", "detailer", "upscale", "tiles", "patch model"],
            description=(
                "Measures uncertainty whenever this model is sampled, by KSampler, custom samplers, detailers, tiled upscalers "
                "or any other sampler. The images stay the same, bit for bit. Collect Uncertainty gives the maps."
            ),
            inputs=[io.Model.Input("model", tooltip="The model to measure."), *measuring_inputs.only_measuring()],
            outputs=[
                io.Model.Output("recorded_model", display_name="MODEL", tooltip="The model to sample with."),
                node_inputs.Recorded.Output(
                    "recording",
                    display_name="recording",
                    tooltip="What is recorded while this model is sampled, for Collect Uncertainty.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, window_start: float | None = None, window_end: float | None = None) -> bool | str:
        return node_inputs.check_inputs(cls, window_start, window_end)

    @classmethod
    def execute(
        cls, model: Any, samples: int, window_start: float, window_end: float, options: Options | None = None
    ) -> io.NodeOutput:
        node_inputs.check_types(options=options)
        window = Window(window_start, window_end)
        settings = RunSettings(samples, 0.0, PERCENTILE, window, seed=0, options=options or Options())
        recording = Recording(settings.options)
        return io.NodeOutput(record_every_sampling(model, settings, recording), recording)
