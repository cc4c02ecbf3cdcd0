"""Loads any of the paper's networks from its file as ComfyUI's MODEL."""

import pickle  # nosec B403
from pathlib import Path
from typing import Any, ClassVar

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models_base
import comfy.utils
import torch
from torch import Tensor, nn

from ..demo.model import Pixels
from . import adm, ddpm, uvit

LABEL = "class_label"  # key in the options of a CONDITIONING
SD_BETAS = {"beta_schedule": "linear", "linear_start": 0.00085, "linear_end": 0.012}


class Adapted(nn.Module):
    """Wraps a network so that ComfyUI can call it.

    Args:
        network: predicts noise from latents, times and, if it has classes, labels.
        classes: number of labels, 0 for none.
        null: the label for no class, or None.
        channels: channels of the latents; further output channels (a learned variance) are dropped.
    """

    def __init__(self, network: nn.Module, classes: int, null: int | None, channels: int) -> None:
        super().__init__()
        self.network = network
        self.classes = classes
        self.null = null
        self.channels = channels
        self.dtype = torch.float32

    def forward(self, x: Tensor, timesteps: Tensor, context: Any = None, y: Tensor | None = None, **others: Any) -> Tensor:
        """Noise prediction (B, C, H, W)."""
        if not self.classes:
            output = self.network(x, timesteps)
        elif y is None:
            raise ValueError("this model needs a class: connect Class Label to positive and negative.")
        else:
            output = self.network(x, timesteps, y.long().flatten())
        noise = output if isinstance(output, Tensor) else output.sample
        return noise[:, : self.channels]


class PixelConfig(comfy.supported_models_base.BASE):
    """ComfyUI's configuration of a pixel-space model."""

    latent_format = Pixels
    unet_extra_config: ClassVar[dict[str, Any]] = {}
    supported_inference_dtypes: ClassVar[list[torch.dtype]] = [torch.float32]
    memory_usage_factor = 0.5


class LatentConfig(PixelConfig):
    """ComfyUI's configuration of a model in Stable Diffusion's latent space."""

    latent_format = comfy.latent_formats.SD15


class LabelledModel(comfy.model_base.BaseModel):
    """ComfyUI's model wrapper; the class label is its vector conditioning."""

    def encode_adm(self, **kwargs: Any) -> Tensor | None:
        """Labels (B,), or None."""
        return kwargs.get(LABEL)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, read without running any code in it.

    Raises:
        ValueError: the file is damaged or contains anything other than named tensors.
    """
    try:
        tensors = comfy.utils.load_torch_file(str(path), safe_load=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path.name} contains code and was not loaded: use a file that contains only tensors.") from error
    except Exception as error:  # the unpickler, safetensors and zipfile each raise their own
        raise ValueError(
            f"{path.name} cannot be read as a file of tensors ({type(error).__name__}: {error}): download it again."
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"{path.name} contains more than named tensors: use the file with only the averaged weights.")
    return {name: tensor.float() for name, tensor in tensors.items()}


def load(path: Path) -> tuple[comfy.model_patcher.ModelPatcher, bool]:
    """The model in a file, and whether it works on pixels (otherwise on latents of Stable Diffusion's VAE).

    Raises:
        ValueError: the file is not one of the paper's networks.
        RuntimeError: a required package is missing.
    """
    null = levels = None
    pixels = True
    tensors = {} if ddpm.is_folder_of(path) else read(path)
    if not tensors:
        network, settings, classes = ddpm.from_folder(path), ddpm.sampling(path), 0
    elif "decoder_pred.weight" in tensors and "patch_embed.proj.weight" in tensors:
        network = uvit.from_tensors(tensors)
        classes, pixels, settings = network.classes, network.channels == 3, SD_BETAS
        null = classes - 1 if classes and not pixels else None  # the latent-space models were trained for CFG
        levels = uvit.sigmas() if network.continuous else None
    elif "time_embed.0.weight" in tensors and "input_blocks.0.0.weight" in tensors:
        network, schedule = adm.from_tensors(tensors)
        settings = {"beta_schedule": schedule, "linear_start": 1e-4, "linear_end": 0.02}
        classes = len(tensors["label_emb.weight"]) if "label_emb.weight" in tensors else 0
    else:
        raise ValueError(
            f"{path.name} has an unknown layout: use the weights in a diffusers folder with a UNet2DModel (config.json beside "
            "them), a file of OpenAI's guided-diffusion, or a file of U-ViT."
        )
    config = (PixelConfig if pixels else LatentConfig)({})
    config.sampling_settings = settings
    config.set_inference_dtype(torch.float32, None)
    channels = config.latent_format.latent_channels
    adapted = Adapted(network.eval(), classes, null, channels)
    offload = comfy.model_management.unet_offload_device()
    model = LabelledModel(config, comfy.model_base.ModelType.EPS, device=offload, unet_model=lambda **_: adapted)
    if levels is not None:
        model.model_sampling.set_sigmas(levels.float())
    return comfy.model_patcher.ModelPatcher(model, comfy.model_management.get_torch_device(), offload), pixels
