"""Loads the weights that ship with the pack as ComfyUI's MODEL, CLIP and VAE."""

import json
from pathlib import Path
from typing import Any, ClassVar

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.sd
import comfy.supported_models_base
import comfy.utils
import torch
from safetensors import safe_open
from torch import Tensor

from .network import CONTEXT_DIM, FlowUNet, NoisePredictingUNet
from .text import BagOfWordsEncoder, BagOfWordsTokenizer

WEIGHTS = Path(__file__).with_name("emoji64.safetensors")
FAMILIES = ("noise prediction", "rectified flow")
UNET_PREFIX = "model.diffusion_model."
TEXT_PREFIX = "cond_stage_model."


class Pixels(comfy.latent_formats.LatentFormat):
    """A latent format whose latents are RGB pixels, -1 to 1."""

    latent_channels = 3

    def __init__(self) -> None:
        self.latent_rgb_factors = torch.eye(3).tolist()


class DemoConfig(comfy.supported_models_base.BASE):
    """ComfyUI's configuration of the demo model."""

    latent_format = Pixels
    unet_extra_config: ClassVar[dict[str, Any]] = {}
    supported_inference_dtypes: ClassVar[list[torch.dtype]] = [torch.float32, torch.bfloat16, torch.float16]
    memory_usage_factor = 0.1


class DemoModel(comfy.model_base.BaseModel):
    """ComfyUI's model wrapper around the demo network; the pooled text is its vector conditioning."""

    def __init__(self, config: DemoConfig, family: str, device: Any = None) -> None:
        if family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}.")
        flow = family == "rectified flow"
        if not flow:
            config.unet_config["sigmas"] = comfy.model_sampling.ModelSamplingDiscrete().sigmas
        super().__init__(
            config,
            comfy.model_base.ModelType.FLOW if flow else comfy.model_base.ModelType.EPS,
            device=device,
            unet_model=FlowUNet if flow else NoisePredictingUNet,
        )

    def encode_adm(self, **kwargs: Any) -> Tensor | None:
        """The pooled text vector, shape (1, D)."""
        return kwargs["pooled_output"]


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of a weights file.

    Raises:
        FileNotFoundError: the file is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"the demo weights {path.name} are missing from {path.parent}: reinstall the pack.")
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def build(
    tensors: dict[str, Tensor], header: dict[str, str], family: str, config_class: type[DemoConfig] = DemoConfig
) -> tuple[comfy.model_patcher.ModelPatcher, comfy.sd.CLIP]:
    """Network and text encoder from the tensors and the header of a weights file."""
    load_device = comfy.model_management.get_torch_device()
    config = config_class(json.loads(header["unet_config"]))
    config.set_inference_dtype(torch.float32, None)
    model = DemoModel(config, family, comfy.model_management.unet_offload_device())
    unet = {name.removeprefix(UNET_PREFIX): t.float() for name, t in tensors.items() if name.startswith(UNET_PREFIX)}
    model.diffusion_model.load_state_dict(unet, strict=True)
    patcher = comfy.model_patcher.ModelPatcher(model, load_device, comfy.model_management.unet_offload_device())

    vocabulary = json.loads(header["vocabulary"])
    target = comfy.supported_models_base.ClipTarget(
        lambda **_: BagOfWordsTokenizer(vocabulary), lambda **kwargs: BagOfWordsEncoder(len(vocabulary), CONTEXT_DIM, **kwargs)
    )
    clip = comfy.sd.CLIP(target, model_options={"dtype": torch.float32})
    text = {name.removeprefix(TEXT_PREFIX): t.float() for name, t in tensors.items() if name.startswith(TEXT_PREFIX)}
    clip.cond_stage_model.load_state_dict(text, strict=True)
    return patcher, clip


def load(family: str = FAMILIES[0], path: Path = WEIGHTS) -> tuple[comfy.model_patcher.ModelPatcher, comfy.sd.CLIP, comfy.sd.VAE]:
    """The demo model in one of the two families, which share the same weights (see ``network.py``)."""
    patcher, clip = build(*read(path), family)
    vae = comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)})
    return patcher, clip, vae
