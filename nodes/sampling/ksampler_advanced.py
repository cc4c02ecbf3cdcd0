"""UncertaintyKSamplerAdvanced: KSampler (Advanced) that also measures uncertainty and can guide by it."""

from typing import Any

from comfy_api.latest import io

import nodes as comfy_nodes  # ComfyUI's own, not this package: that is imported relatively

from ...uncertainty.options import Options, RunSettings
from ...uncertainty.plain_numbers import real, whole
from ...uncertainty.thresholds import Thresholds
from ...uncertainty.window import Window
from .. import node_inputs, versions
from ..hook.sampling_hook import UncertaintyRun
from . import ksampler_inputs, measuring_inputs

ENABLE, DISABLE = "enable", "disable"


class UncertaintyKSamplerAdvanced(io.ComfyNode):
    """A replacement for KSampler (Advanced)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyKSamplerAdvanced",
            display_name="KSampler Advanced (Uncertainty)",
            category=node_inputs.CATEGORY,
            search_aliases=["quality", "measure", "confidence", "score images", "refiner", "two stages"],
            description=(
                "Samples a part of the schedule like KSampler (Advanced) and measures along the way how certain the model is "
                "about every pixel. Gives each image a score, and can guide by uncertainty (strength)."
            ),
            inputs=[
                ksampler_inputs.model(),
                io.Combo.Input(
                    "add_noise",
                    options=[ENABLE, DISABLE],
                    tooltip="Whether to add noise to the latent. Disable it for a latent that still has some.",
                ),
                *ksampler_inputs.sampling("noise_seed"),
                io.Int.Input("start_at_step", default=0, min=0, max=10000, tooltip="The first step to sample, counted from 0."),
                io.Int.Input(
                    "end_at_step",
                    default=10000,
                    min=0,
                    max=10000,
                    tooltip="The step before which to stop. At or above steps, the schedule is sampled to its end.",
                ),
                io.Combo.Input(
                    "return_with_leftover_noise",
                    options=[DISABLE, ENABLE],
                    tooltip="Whether the latent keeps the noise that is left at end_at_step, for another sampler to go on with.",
                ),
                *measuring_inputs.inputs(),
            ],
            outputs=ksampler_inputs.outputs(),
        )

    @classmethod
    def validate_inputs(
        cls,
        add_noise: str | None = None,
        sampler_name: str | None = None,
        scheduler: str | None = None,
        return_with_leftover_noise: str | None = None,
        window_start: float | None = None,
        window_end: float | None = None,
        input_types: dict[str, Any] | None = None,
    ) -> bool | str:
        return node_inputs.check_inputs(
            cls,
            window_start,
            window_end,
            input_types=input_types,
            add_noise=add_noise,
            sampler_name=sampler_name,
            scheduler=scheduler,
            return_with_leftover_noise=return_with_leftover_noise,
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        add_noise: str,
        noise_seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Any,
        negative: Any,
        latent_image: dict,
        start_at_step: int,
        end_at_step: int,
        return_with_leftover_noise: str,
        samples: int,
        strength: float,
        percentile: float,
        window_start: float,
        window_end: float,
        thresholds: Thresholds | None = None,
        options: Options | None = None,
    ) -> io.NodeOutput:
        node_inputs.check_types(thresholds=thresholds, options=options)
        measuring_inputs.check_latent_image(latent_image)
        chosen = {"add_noise": add_noise, "return_with_leftover_noise": return_with_leftover_noise}
        node_inputs.check_choices(cls, sampler_name=sampler_name, scheduler=scheduler, **chosen)
        steps, cfg, seed = whole("steps", steps), real("cfg", cfg), whole("noise_seed", noise_seed)
        start, end = whole("start_at_step", start_at_step), whole("end_at_step", end_at_step)
        settings = RunSettings(samples, strength, percentile, Window(window_start, window_end), seed, options or Options())
        described = {
            **{"steps": steps, "cfg": cfg, "sampler": sampler_name, "scheduler": scheduler},
            **{"start_at_step": start, "end_at_step": min(end, steps), "add_noise": add_noise == ENABLE},
            # At the end of the schedule none is left.
            "return_with_leftover_noise": return_with_leftover_noise == ENABLE and end < steps,
        }
        run = UncertaintyRun(settings, measuring_inputs.image_indices(latent_image), described, thresholds)
        (latent,) = comfy_nodes.KSamplerAdvanced().sample(
            run.attach(model), add_noise, seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, start, end,
            return_with_leftover_noise,
        )  # fmt: skip
        if not 0 <= start < min(end, steps):
            why = (
                f"no step was sampled: start_at_step ({start}) must be at least 0, and below end_at_step ({end}) and steps "
                f"({steps})."
            )
            return measuring_inputs.without_map(why, latent)
        return measuring_inputs.results(run, sampler_name, latent)
