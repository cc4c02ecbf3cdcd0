"""UncertaintyGuidance: a model patch that guides any sampler by uncertainty."""

from typing import Any

from comfy_api.latest import io

from ...uncertainty.options import Options, RunSettings
from ...uncertainty.thresholds import Thresholds
from ...uncertainty.window import Window
from .. import node_inputs, versions
from ..hook.every_sampling import guide_every_sampling
from . import measuring_inputs


class UncertaintyGuidance(io.ComfyNode):
    """A model patch for samplers other than this pack's; it guides and records nothing."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyGuidance",
            display_name="Uncertainty Guidance",
            category=node_inputs.CATEGORY,
            search_aliases=["steer", "patch model"],
            is_experimental=True,
            description=(
                "Guides by uncertainty whenever this model is sampled, by KSampler, custom samplers, tiled upscalers or "
                "any other sampler. Nothing is recorded: use an uncertainty sampler to get maps and scores."
            ),
            inputs=[
                io.Model.Input("model", tooltip="The model to guide."),
                *measuring_inputs.inputs(1.0, measuring_inputs.PAPER),
            ],
            outputs=[io.Model.Output("guided_model", display_name="MODEL", tooltip="The model with guidance added.")],
        )

    @classmethod
    def validate_inputs(cls, window_start: float | None = None, window_end: float | None = None) -> bool | str:
        return node_inputs.check_inputs(cls, window_start, window_end)

    @classmethod
    def execute(
        cls,
        model: Any,
        samples: int,
        strength: float,
        percentile: float,
        window_start: float,
        window_end: float,
        thresholds: Thresholds | None = None,
        options: Options | None = None,
    ) -> io.NodeOutput:
        node_inputs.check_types(thresholds=thresholds, options=options)
        window = Window(window_start, window_end)
        settings = RunSettings(samples, strength, percentile, window, seed=0, options=options or Options())
        return io.NodeOutput(guide_every_sampling(model, settings, thresholds) if strength else model)
