"""UncertaintyLaplaceFit: fits a Laplace approximation to a model's last layer, for the baseline BayesDiff."""

from collections.abc import Sequence
from typing import Any

import comfy.samplers
import comfy.utils
import torch
from comfy_api.latest import io
from torch import Tensor

from ...uncertainty.baselines.laplace import Laplace, posterior, squared_gradients
from ...uncertainty.noising import from_noise_scaling
from ...uncertainty.plain_numbers import whole
from .. import node_inputs, versions
from ..hook.last_layer import LastLayer

# Noise levels used, as fractions of the schedule. At its ends there is no image or no noise.
PERCENT = (0.01, 0.99)


class UncertaintyLaplaceFit(io.ComfyNode):
    """Fits the weights' variance to real images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyLaplaceFit",
            display_name="Fit Laplace",
            category=node_inputs.CATEGORY,
            search_aliases=["bayesdiff"],
            is_experimental=True,
            description=(
                "Shows real images to a model and measures how well they determine the weights of its last layer. Connect the "
                "result to Uncertainty Baselines to score images with BayesDiff."
            ),
            is_input_list=True,
            inputs=[
                io.Model.Input("model", tooltip="The model to fit: the one you will sample with."),
                io.Latent.Input(
                    "latents",
                    tooltip="Real images, encoded to latents. Use a few hundred or more like those the model was trained on.",
                ),
                io.Conditioning.Input(
                    "positive", tooltip="The prompts of these images: one for all, or a list with one for each image."
                ),
                io.Int.Input(
                    "passes", default=4, min=1, max=64, tooltip="How many noise levels to show each image at. More take longer."
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=False,  # a new seed would repeat the fit
                    tooltip="The random seed of the noise added to the images.",
                ),
            ],
            outputs=[node_inputs.Laplace.Output("laplace", display_name="LAPLACE", tooltip="Connect to Uncertainty Baselines.")],
        )

    @classmethod
    def execute(cls, model: list, latents: list[dict], positive: list, passes: list[int], seed: list[int]) -> io.NodeOutput:
        for latent in latents:
            if latent["samples"].is_nested:
                raise ValueError(
                    "latents must have one part each, but one has several, such as video with sound, which bayesdiff does not "
                    "support: connect latents of images."
                )
            node_inputs.check_latents("latents", latent["samples"])
        images = [image[None] for latent in latents for image in latent["samples"]]
        if len(positive) not in (1, len(images)):
            raise ValueError(
                f"positive has {len(positive)} prompts for {len(images)} images: connect one prompt, or one for each image."
            )
        prompts = positive if len(positive) > 1 else positive * len(images)
        fits = {"passes": whole("passes", passes[0]), "seed": whole("seed", seed[0])}
        fitting = _Fitting(**fits)
        bar = comfy.utils.ProgressBar(len(images))
        for image, prompt in zip(images, prompts, strict=True):
            guider = comfy.samplers.CFGGuider(model[0])
            guider.set_conds(prompt, prompt)
            guider.set_cfg(1.0)
            guider.sample(torch.zeros_like(image), image, fitting, torch.ones(2), disable_pbar=True, seed=fits["seed"])
            bar.update(1)
        return io.NodeOutput(fitting.result({"images": len(images), **fits}))


class _Fitting(comfy.samplers.Sampler):
    """A sampler that adds up squared gradients of the last layer's weights on noised real images, and changes no latent.

    It is written as a sampler so that ComfyUI loads the model and prepares the prompts as for any sampling.
    """

    def __init__(self, passes: int, seed: int) -> None:
        self.passes = passes
        self.rng = torch.Generator().manual_seed(seed)
        self.squares: Sequence[Tensor] = ()
        self.layer: LastLayer | None = None

    def sample(
        self, guider: Any, sigmas: Tensor, extra_args: dict, callback: Any, noise: Tensor, latent_image: Tensor, *others: Any
    ) -> Tensor:
        """Called by ComfyUI with ``latent_image`` (1, C, *spatial) in the model's own scale."""
        model, options = guider.inner_model, extra_args["model_options"]
        self.layer = self.layer or LastLayer(model.diffusion_model)
        low, high = PERCENT
        levels = low + (high - low) * torch.rand(self.passes, generator=self.rng)
        for percent in levels.tolist():
            sigma = torch.full((1,), float(model.model_sampling.percent_to_sigma(percent))).to(latent_image)
            fresh = torch.randn(latent_image.shape, generator=self.rng).to(latent_image)
            level = from_noise_scaling(model.model_sampling.noise_scaling, sigma)
            x = level.a * latent_image + level.b * fresh
            with self.layer.inputs() as seen:
                denoised = guider(x, sigma, model_options=options)
            tail = self.layer.tail(lambda z, s: guider(z, s, model_options=options), x, sigma)
            # The sampler follows d = (x - x̂0)/σ, whose error is the error of x̂0 divided by -σ.
            error = 2 * (denoised - latent_image) / sigma**2
            squares = squared_gradients(self.layer.module, seen[0].float(), tail.gradient(error.float()))
            self.squares = [old + new for old, new in zip(self.squares, squares, strict=True)] if self.squares else list(squares)
        return latent_image

    def result(self, settings: dict[str, Any]) -> Laplace:
        """The approximation from all images shown so far."""
        if self.layer is None:
            raise ValueError("latents has no images: connect real images, encoded to latents.")
        weight, bias = (posterior(squares).cpu() for squares in self.squares)
        return Laplace(weight, None if self.layer.module.bias is None else bias, self.layer.name, settings)
