"""UncertaintyKSampler: KSampler that also measures, and guides by, uncertainty."""

from typing import Any

import comfy.samplers
from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

import nodes as comfy_nodes  # ComfyUI's own, not this package: that is imported relatively

from ..uncertainty.options import Options, RunSettings
from ..uncertainty.thresholds import Thresholds
from ..uncertainty.window import Window
from . import common
from .sampling_hook import UncertaintyRun


def measuring_inputs() -> list[io.Input]:
    """The inputs every measuring sampler ends with."""
    return [
        io.Int.Input(
            "samples",
            default=5,
            min=2,
            max=64,
            tooltip="M: how many noisy copies are denoised at each recorded step. More is slower and less noisy.",
        ),
        io.Float.Input(
            "strength",
            default=1.0,
            min=-100.0,
            max=100.0,
            step=0.1,
            round=0.001,
            tooltip="λ: how strongly uncertain elements are pushed. 0 only measures: the image is KSampler's, bit for bit.",
        ),
        io.Float.Input(
            "percentile",
            default=95.0,
            min=0.0,
            max=100.0,
            step=0.5,
            round=0.01,
            tooltip="p: elements whose uncertainty lies above this percentile of their image are guided.",
        ),
        *common.window_inputs(0.90, 0.98, "Steps i with start ≤ i/steps < end are measured and guided."),
        common.Thresholds.Input(
            "thresholds", optional=True, tooltip="Calibrated thresholds per step, used instead of the percentile."
        ),
        common.Options.Input("options", optional=True, tooltip="Estimator and guidance details; may stay empty."),
    ]


class UncertaintyKSampler(io.ComfyNode):
    """Swap it in for KSampler."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """KSampler's inputs, then the measuring ones."""
        return io.Schema(
            node_id="UncertaintyKSampler",
            display_name="KSampler (Uncertainty)",
            category=common.CATEGORY,
            description=(
                "Samples like KSampler and measures, at some of the last steps, how sure the model is of every pixel. "
                "Gives each image a score; can guide the uncertain pixels (strength)."
            ),
            inputs=[
                io.Model.Input("model", tooltip="The model used for denoising the input latent."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="The random seed used for creating the noise. The probes are seeded from it too.",
                ),
                io.Int.Input("steps", default=20, min=1, max=10000, tooltip="The number of steps used in the denoising process."),
                io.Float.Input(
                    "cfg",
                    default=8.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="Classifier-Free Guidance scale: higher follows the prompt more closely.",
                ),
                io.Combo.Input(
                    "sampler_name", options=comfy.samplers.KSampler.SAMPLERS, tooltip="The algorithm used when sampling."
                ),
                io.Combo.Input(
                    "scheduler",
                    options=comfy.samplers.KSampler.SCHEDULERS,
                    tooltip="The scheduler controls how noise is gradually removed to form the image.",
                ),
                io.Conditioning.Input("positive", tooltip="The attributes you want to include in the image."),
                io.Conditioning.Input("negative", tooltip="The attributes you want to exclude from the image."),
                io.Latent.Input("latent_image", tooltip="The latent image to denoise."),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The amount of denoising applied; lower values keep the structure of the initial image.",
                ),
                *measuring_inputs(),
            ],
            outputs=[
                io.Latent.Output("latent", display_name="LATENT", tooltip="The denoised latent."),
                common.Uncertainty.Output("uncertainty", display_name="UNCERTAINTY", tooltip="Maps of every recorded step."),
                io.Float.Output(
                    "scores",
                    display_name="scores",
                    is_output_list=True,
                    tooltip="One score an image (denoised_variance summed over the recorded steps): high means unsure.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        sampler_name: str | None = None,
        scheduler: str | None = None,
        window_start: float | None = None,
        window_end: float | None = None,
    ) -> bool | str:
        """Refuse what cannot work before anything runs."""
        return common.check_inputs(cls, window_start, window_end, sampler_name=sampler_name, scheduler=scheduler)

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
        """Sample, measure, guide."""
        if latent_image["samples"].is_nested:
            raise ValueError("latent_image packs several latents (video with sound), which cannot be measured yet: use KSampler.")
        settings = RunSettings(samples, strength, percentile, Window(window_start, window_end), seed, options or Options())
        images = latent_image.get("batch_index") or range(len(latent_image["samples"]))
        described = {"steps": steps, "cfg": cfg, "sampler": sampler_name, "scheduler": scheduler, "denoise": denoise}
        run = UncertaintyRun(settings, images, described, thresholds)
        (latent,) = comfy_nodes.common_ksampler(
            run.attach(model), seed, steps, cfg, sampler_name, scheduler, positive, negative, latent_image, denoise=denoise
        )
        if not run.recorded:
            nothing = ExecutionBlocker(
                "The image is finished, but has no uncertainty map: no model call fell into the window. Check steps, denoise, "
                f"window_start and window_end, or take another sampler than {sampler_name}."
            )
            return io.NodeOutput(latent, nothing, [nothing])
        result = run.uncertainty_map()
        return io.NodeOutput(latent, result, result.score().value.tolist())
