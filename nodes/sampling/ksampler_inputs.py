"""Inputs and outputs that KSampler and KSampler (Advanced) have in common, with ComfyUI's own ranges and defaults."""

import comfy.samplers
from comfy_api.latest import io

from . import measuring_inputs


def model() -> io.Input:
    """The model."""
    return io.Model.Input("model", tooltip="The model used for denoising the input latent.")


def sampling(seed: str) -> list[io.Input]:
    """From the seed, under its name, to the latent image."""
    return [
        io.Int.Input(
            seed,
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=True,
            tooltip="The random seed used for creating the noise. It also seeds the noise used for measuring.",
        ),
        io.Int.Input("steps", default=20, min=1, max=10000, tooltip="The number of steps used in the denoising process."),
        io.Float.Input(
            "cfg",
            default=8.0,
            min=0.0,
            max=100.0,
            step=0.1,
            round=0.01,
            tooltip="Classifier-Free Guidance scale. Higher values follow the prompt more closely.",
        ),
        io.Combo.Input("sampler_name", options=comfy.samplers.KSampler.SAMPLERS, tooltip="The algorithm used when sampling."),
        io.Combo.Input(
            "scheduler",
            options=comfy.samplers.KSampler.SCHEDULERS,
            tooltip="The scheduler controls how noise is gradually removed to form the image.",
        ),
        io.Conditioning.Input("positive", tooltip="The attributes you want to include in the image."),
        io.Conditioning.Input("negative", tooltip="The attributes you want to exclude from the image."),
        io.Latent.Input("latent_image", tooltip="The latent image to denoise."),
    ]


def outputs() -> list[io.Output]:
    """All outputs of these nodes."""
    return [io.Latent.Output("latent", display_name="LATENT", tooltip="The denoised latent."), *measuring_inputs.outputs()]
