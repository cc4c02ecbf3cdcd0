"""UncertaintySamplerCustom: SamplerCustomAdvanced that also measures uncertainty and can guide by it."""

from typing import Any

from comfy_api.latest import io
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from torch import Tensor

from ...uncertainty.options import Options, RunSettings
from ...uncertainty.thresholds import Thresholds
from ...uncertainty.window import Window
from .. import node_inputs, versions
from ..hook.described_sampling import describe
from ..hook.sampling_hook import UncertaintyRun
from . import measuring_inputs


class UncertaintySamplerCustom(io.ComfyNode):
    """A replacement for SamplerCustomAdvanced."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintySamplerCustom",
            display_name="SamplerCustomAdvanced (Uncertainty)",
            category=node_inputs.CATEGORY,
            search_aliases=["quality", "measure", "confidence", "score images"],
            description=(
                "Samples like SamplerCustomAdvanced, with any guider, and measures along the way how certain the model is about "
                "every pixel. Gives each image a score, and can guide by uncertainty (strength)."
            ),
            inputs=[
                io.Noise.Input("noise", tooltip="The initial noise. Its seed also seeds the noise used for measuring."),
                io.Guider.Input("guider", tooltip="The guider to sample with, as in SamplerCustomAdvanced."),
                io.Sampler.Input("sampler", tooltip="The algorithm used when sampling."),
                io.Sigmas.Input("sigmas", tooltip="The noise levels of the schedule, one more than the number of steps."),
                io.Latent.Input("latent_image", tooltip="The latent image to denoise."),
                *measuring_inputs.inputs(),
            ],
            outputs=[
                io.Latent.Output("output", display_name="output", tooltip="The latent at the end of the schedule."),
                io.Latent.Output(
                    "denoised_output",
                    display_name="denoised_output",
                    tooltip="The denoised latent that the model predicted at the last step.",
                ),
                *measuring_inputs.outputs(),
            ],
        )

    @classmethod
    def validate_inputs(cls, window_start: float | None = None, window_end: float | None = None) -> bool | str:
        return node_inputs.check_inputs(cls, window_start, window_end)

    @classmethod
    def execute(
        cls,
        noise: Any,
        guider: Any,
        sampler: Any,
        sigmas: Tensor,
        latent_image: dict,
        samples: int,
        strength: float,
        percentile: float,
        window_start: float,
        window_end: float,
        thresholds: Thresholds | None = None,
        options: Options | None = None,
    ) -> io.NodeOutput:
        node_inputs.check_types(thresholds=thresholds, options=options)
        if not hasattr(guider, "model_patcher"):
            raise ValueError(
                f"guider must be a guider with a model, got a {type(guider).__name__}: connect CFGGuider or another guider."
            )
        measuring_inputs.check_latent_image(latent_image)
        window = Window(window_start, window_end)
        seed = 0 if noise.seed is None else noise.seed
        settings = RunSettings(samples, strength, percentile, window, seed, options or Options())
        described = describe(guider, sampler, sigmas)
        run = UncertaintyRun(settings, measuring_inputs.image_indices(latent_image), described, thresholds)
        sampled = SamplerCustomAdvanced.execute(noise, run.attach_to_guider(guider), sampler, sigmas, latent_image)
        run.check_reached(type(guider).__name__, len(sigmas) - 1)
        return measuring_inputs.results(run, described["sampler"], *sampled.args)
