"""UncertaintyPixelModelLoader and UncertaintyClassLabel: load the networks of the paper's tables and condition on classes."""

from pathlib import Path
from typing import Any

import comfy.sd
import folder_paths
import torch
from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from ...paper_models import load
from .. import node_inputs, versions

FOLDER = "diffusion_models"


class UncertaintyPixelModelLoader(io.ComfyNode):
    """Loads a network from the file its authors published."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyPixelModelLoader",
            display_name="Load Paper Model (DDPM, ADM, U-ViT)",
            category=node_inputs.CATEGORY,
            search_aliases=["imagenet", "pretrained"],
            description=(
                "Loads a network of the paper's tables from the file its authors published: DDPM (a diffusers folder), ADM for "
                "ImageNet (OpenAI) or U-ViT. For pixel-space models, set Empty Latent Image to 8 times the size of the image."
            ),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=folder_paths.get_filename_list(FOLDER),
                    tooltip=f"The file to load from models/{FOLDER}. In a diffusers folder: the weights next to config.json.",
                )
            ],
            outputs=[
                io.Model.Output("model", display_name="MODEL", tooltip="The network, to sample with."),
                io.Vae.Output(
                    "vae",
                    display_name="VAE",
                    tooltip="The VAE of a pixel-space model. For U-ViT, load the VAE of Stable Diffusion with Load VAE.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, input_types: dict[str, Any] | None = None) -> bool | str:
        return node_inputs.check_inputs(cls, input_types=input_types)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        model, pixels = load.load(Path(folder_paths.get_full_path_or_raise(FOLDER, file)))
        if pixels:
            return io.NodeOutput(model, comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)}))
        return io.NodeOutput(
            model, ExecutionBlocker("This model needs the VAE of Stable Diffusion: connect Load VAE instead of this output.")
        )


class UncertaintyClassLabel(io.ComfyNode):
    """Conditioning on a class instead of a prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyClassLabel",
            display_name="Class Label",
            category=node_inputs.CATEGORY,
            search_aliases=["imagenet", "class conditioning"],
            description="Conditions on a class number, for models from Load Paper Model.",
            inputs=[
                io.Model.Input("model", tooltip="The model that defines the classes, from Load Paper Model."),
                io.String.Input(
                    "text",
                    default="",
                    tooltip=(
                        "The class number, starting at 0. Several numbers, separated by commas, go to the images of a batch in "
                        "turn. Leave empty for no class, as for a negative prompt, if the model supports that."
                    ),
                ),
            ],
            outputs=[
                io.Conditioning.Output("conditioning", display_name="CONDITIONING", tooltip="The class, in place of a prompt.")
            ],
        )

    @classmethod
    def execute(cls, model: Any, text: str) -> io.NodeOutput:
        network = getattr(getattr(model, "model", None), "diffusion_model", model)
        if not isinstance(network, load.Adapted):
            raise ValueError(f"model must come from Load Paper Model, got a {type(network).__name__}: connect that node.")
        labels = _labels(text, network)
        options = {} if labels is None else {load.LABEL: labels}
        return io.NodeOutput([[torch.zeros(1, 1, 1), options]])


def _labels(text: str, network: load.Adapted) -> torch.Tensor | None:
    """Class numbers (N,), or None for a model without classes."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not network.classes:
        if parts:
            raise ValueError(f"text must be empty for a model without classes, got {text!r}.")
        return None
    known = network.classes - (network.null is not None)
    if not parts:
        if network.null is None:
            raise ValueError(f"text is empty, but this model always needs a class: enter 0 to {known - 1}, and set cfg to 1.")
        return torch.tensor([network.null])
    if not all(part.isdecimal() and int(part) < known for part in parts):
        raise ValueError(f"text must hold class numbers from 0 to {known - 1}, separated by commas, got {text!r}.")
    return torch.tensor([int(part) for part in parts])
