"""UncertaintyPixelModelLoader and UncertaintyClassLabel: the networks of the paper's tables."""

from pathlib import Path
from typing import Any

import comfy.sd
import folder_paths
import torch
from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from ...paper_models import load
from .. import node_inputs

FOLDER = "diffusion_models"


class UncertaintyPixelModelLoader(io.ComfyNode):
    """Reads a published file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Which file."""
        return io.Schema(
            node_id="UncertaintyPixelModelLoader",
            display_name="Load Paper Model (DDPM, ADM, U-ViT)",
            category=node_inputs.CATEGORY,
            description=(
                "Loads a network of the paper's tables from the file its authors published: DDPM (a diffusers folder), ADM for "
                "ImageNet (OpenAI) or U-ViT. For models of pixels an Empty Latent Image of 8 times the image's size is right."
            ),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=folder_paths.get_filename_list(FOLDER),
                    tooltip=f"A file in models/{FOLDER}; of a diffusers folder the weights, with config.json beside them.",
                )
            ],
            outputs=[
                io.Model.Output("model", display_name="MODEL"),
                io.Vae.Output(
                    "vae", display_name="VAE", tooltip="Of models of pixels. U-ViT takes Stable Diffusion's: Load VAE."
                ),
            ],
        )

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Load it."""
        model, pixels = load.load(Path(folder_paths.get_full_path_or_raise(FOLDER, file)))
        if pixels:
            return io.NodeOutput(model, comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)}))
        return io.NodeOutput(
            model, ExecutionBlocker("This model draws latents of Stable Diffusion's VAE: take one from Load VAE.")
        )


class UncertaintyClassLabel(io.ComfyNode):
    """A class in the place of a prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The model that knows the class, and its number."""
        return io.Schema(
            node_id="UncertaintyClassLabel",
            display_name="Class Label",
            category=node_inputs.CATEGORY,
            description="The number of a class as conditioning, for models of Load Paper Model.",
            inputs=[
                io.Model.Input("model", tooltip="From Load Paper Model."),
                io.String.Input(
                    "text",
                    default="",
                    tooltip=(
                        "Number of the class, from 0; several, separated by commas, are given to the images of a batch in turn. "
                        "Empty: no class, for negative, where the model knows that."
                    ),
                ),
            ],
            outputs=[io.Conditioning.Output("conditioning", display_name="CONDITIONING")],
        )

    @classmethod
    def execute(cls, model: Any, text: str) -> io.NodeOutput:
        """Check it against the model."""
        network = model.model.diffusion_model
        if not isinstance(network, load.Adapted):
            raise ValueError("model must come from Load Paper Model: other models take prompts.")
        labels = _labels(text, network)
        options = {} if labels is None else {load.LABEL: labels}
        return io.NodeOutput([[torch.zeros(1, 1, 1), options]])


def _labels(text: str, network: load.Adapted) -> torch.Tensor | None:
    """Class numbers (N,); None for a model without classes."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not network.classes:
        if parts:
            raise ValueError(f"text must be empty for a model without classes, got {text!r}.")
        return None
    known = network.classes - (network.null is not None)
    if not parts:
        if network.null is None:
            raise ValueError(f"text is empty, but this model was only trained with classes: give 0 to {known - 1}, and cfg 1.")
        return torch.tensor([network.null])
    if not all(part.isdecimal() and int(part) < known for part in parts):
        raise ValueError(f"text must be numbers from 0 to {known - 1}, separated by commas, got {text!r}.")
    return torch.tensor([int(part) for part in parts])
