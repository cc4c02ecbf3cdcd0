"""UncertaintySamplerCustom: SamplerCustomAdvanced that also measures, and guides by, uncertainty."""

import math
from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from torch import Tensor

from ...uncertainty.options import Options, RunSettings
from ...uncertainty.thresholds import Thresholds
from ...uncertainty.window import Window
from .. import node_inputs
from ..hook.sampling_hook import UncertaintyRun
from . import measuring_inputs


class UncertaintySamplerCustom(io.ComfyNode):
    """Swap it in for SamplerCustomAdvanced."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """SamplerCustomAdvanced's inputs, then the measuring ones."""
        return io.Schema(
            node_id="UncertaintySamplerCustom",
            display_name="SamplerCustomAdvanced (Uncertainty)",
            category=node_inputs.CATEGORY,
            description=(
                "Samples like SamplerCustomAdvanced, with any guider, and measures, at some of the last steps, how sure the "
                "model is of every pixel. Gives each image a score; can guide the uncertain pixels (strength)."
            ),
            inputs=[
                io.Noise.Input("noise", tooltip="The noise to start from. The probes are seeded with its seed too."),
                io.Guider.Input("guider", tooltip="The model with its prompts, as for SamplerCustomAdvanced."),
                io.Sampler.Input("sampler", tooltip="The algorithm used when sampling."),
                io.Sigmas.Input("sigmas", tooltip="The noise levels of the schedule, one more than there are steps."),
                io.Latent.Input("latent_image", tooltip="The latent image to denoise."),
                *measuring_inputs.inputs(),
            ],
            outputs=[
                io.Latent.Output("output", display_name="output", tooltip="The latent where the schedule ends."),
                io.Latent.Output(
                    "denoised_output", display_name="denoised_output", tooltip="What the model took that latent to become."
                ),
                *measuring_inputs.outputs(),
            ],
        )

    @classmethod
    def validate_inputs(cls, window_start: float | None = None, window_end: float | None = None) -> bool | str:
        """Refuse what cannot work before anything runs."""
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
        """Sample, measure, guide."""
        node_inputs.check_types(thresholds=thresholds, options=options)
        if not hasattr(guider, "model_patcher"):
            raise ValueError(f"guider must be a guider with a model, got a {type(guider).__name__}: connect one.")
        measuring_inputs.check_latents(latent_image, instead="SamplerCustomAdvanced")
        window = Window(window_start, window_end)
        settings = RunSettings(samples, strength, percentile, window, noise.seed, options or Options())
        described = _describe(guider, sampler, sigmas)
        run = UncertaintyRun(settings, measuring_inputs.image_indices(latent_image), described, thresholds)
        sampled = SamplerCustomAdvanced.execute(noise, run.attach_to_guider(guider), sampler, sigmas, latent_image)
        return io.NodeOutput(*sampled.args, *measuring_inputs.results(run, described["sampler"]))


def _describe(guider: Any, sampler: Any, sigmas: Tensor) -> dict[str, Any]:
    """What can be told of them in plain values, to travel with the map."""
    function = getattr(getattr(sampler, "sampler_function", None), "__name__", type(sampler).__name__)
    return {
        "steps": max(len(sigmas) - 1, 0),
        "sampler": function.removeprefix("sample_").removesuffix("_function"),
        "sampler_options": _plain(getattr(sampler, "extra_options", {})),
        "guider": type(guider).__name__,
        "guider_options": _plain(vars(guider)),
        "sigmas": [float(f"{sigma:.5g}") for sigma in sigmas.tolist()],  # the last bits are the device's
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """What can be written to a file: JSON knows no infinity."""
    plain = {name: value for name, value in values.items() if isinstance(value, bool | int | float | str)}
    return {name: str(value) if isinstance(value, float) and not math.isfinite(value) else value for name, value in plain.items()}
