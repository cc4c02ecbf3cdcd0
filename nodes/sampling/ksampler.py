"""UncertaintyKSampler: KSampler that also measures uncertainty and can guide by it."""

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


class UncertaintyKSampler(io.ComfyNode):
    """A replacement for KSampler."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyKSampler",
            display_name="KSampler (Uncertainty)",
            category=node_inputs.CATEGORY,
            search_aliases=["quality", "measure", "confidence", "score images", "bad images"],
            essentials_category=node_inputs.ESSENTIALS,
            description=(
                "Samples like KSampler and measures along the way how certain the model is about every pixel. "
                "Gives each image a score, and can guide by uncertainty (strength)."
            ),
            inputs=[
                ksampler_inputs.model(),
                *ksampler_inputs.sampling("seed"),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The amount of denoising applied; lower values keep the structure of the initial image.",
                ),
                *measuring_inputs.inputs(),
            ],
            outputs=ksampler_inputs.outputs(),
        )

    @classmethod
    def validate_inputs(
        cls,
        sampler_name: str | None = None,
        scheduler: str | None = None,
        window_start: float | None = None,
        window_end: float | None = None,
        input_types: dict[str, Any] | None = None,
    ) -> bool | str:
        return node_inputs.check_inputs(
            cls, window_start, window_end, input_types=input_types, sampler_name=sampler_name, scheduler=scheduler
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Any,
        negative: Any,
        latent_image: dict,
        denoise: float,
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
        node_inputs.check_choices(cls, sampler_name=sampler_name, scheduler=scheduler)
        steps, cfg, denoise = whole("steps", steps), real("cfg", cfg), real("denoise", denoise)
        seed = whole("seed", seed)
        settings = RunSettings(samples, strength, percentile, Window(window_start, window_end), seed, options or Options())
        described = {"steps": steps, "cfg": cfg, "sampler": sampler_name, "scheduler": scheduler, "denoise": denoise}
        run = UncertaintyRun(settings, measuring_inputs.image_indices(latent_image), described, thresholds)
        (latent,) = comfy_nodes.common_ksampler(
            run.attach(model), seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise=denoise
        )
        return measuring_inputs.results(run, sampler_name, latent)
