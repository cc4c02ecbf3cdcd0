"""Models at the size that people use, in ComfyUI's own classes, without weights: their shapes determine bytes and operations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import comfy.supported_models
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Architecture:
    """A model of a size.

    Attributes:
        config: name of its class in ``comfy.supported_models``.
        network: arguments of the network.
        size: what it draws, in words.
        latent: shape of one latent.
        text: number of tokens of a prompt, and their width.
        others: shapes of other conditioning of one image, by name.
        constants: other arguments.
        halves: predictions of one evaluation: 2 with CFG, 1 for a model that is used without.
    """

    config: str
    network: Mapping[str, Any]
    size: str
    latent: tuple[int, ...]
    text: tuple[int, int]
    others: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    halves: int = 2

    def build(self, dtype: torch.dtype) -> nn.Module:
        """The model; its weights are whatever is in memory."""
        config = getattr(comfy.supported_models, self.config)(dict(self.network))
        config.unet_config |= self.network  # a class may set its own number of heads
        config.set_inference_dtype(dtype, None)
        model: nn.Module = config.get_model({}).eval()
        return model.requires_grad_(False)

    def call(self, model: Any, x: Tensor) -> Tensor:
        """The denoised latents for noisy ones, (B, *latent)."""
        given = {name: torch.zeros(len(x), *shape) for name, shape in self.others.items()}
        text, sigma = torch.zeros(len(x), *self.text), torch.ones(len(x))
        denoised: Tensor = model.apply_model(x, sigma, c_crossattn=text, **given, **self.constants)
        return denoised


def _unet(depths: list[int], **more: Any) -> dict[str, Any]:
    return {
        "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "use_spatial_transformer": True,
        "legacy": False, "transformer_depth": depths, **more,
    }  # fmt: skip


# The arguments that ComfyUI's model detection finds in the files of these models.
ARCHITECTURES: Mapping[str, Architecture] = {
    "SD1.5": Architecture(
        "SD15",
        _unet(
            [1, 1, 1, 1, 1, 1, 0, 0], num_res_blocks=[2, 2, 2, 2], channel_mult=(1, 2, 4, 4), num_heads=8, context_dim=768,
            transformer_depth_output=[1] * 9 + [0] * 3, transformer_depth_middle=1,
        ),
        "512 × 512", (4, 64, 64), (77, 768),
    ),
    "SDXL": Architecture(
        "SDXL",
        _unet(
            [0, 0, 2, 2, 10, 10], num_res_blocks=[2, 2, 2], channel_mult=(1, 2, 4), num_heads=-1, num_head_channels=64,
            context_dim=2048, adm_in_channels=2816, num_classes="sequential", use_linear_in_transformer=True,
            transformer_depth_output=[0, 0, 0, 2, 2, 2, 10, 10, 10], transformer_depth_middle=10,
        ),
        "1024 × 1024", (4, 128, 128), (77, 2048), {"y": (2816,)},
    ),
    "SD3.5 medium": Architecture(
        "SD3",
        {
            "in_channels": 16, "out_channels": 16, "patch_size": 2, "depth": 24, "input_size": None, "adm_in_channels": 2048,
            "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 1536}},
            "num_patches": 384**2, "pos_embed_max_size": 384, "pos_embed_scaling_factor": None, "qk_norm": "rms",
            "x_block_self_attn_layers": list(range(13)),
        },
        "1024 × 1024", (16, 128, 128), (154, 4096), {"y": (2048,)},
    ),
    "Flux.1 dev": Architecture(
        "Flux",
        {
            "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 768, "context_in_dim": 4096,
            "hidden_size": 3072, "mlp_ratio": 4.0, "num_heads": 24, "depth": 19, "depth_single_blocks": 38,
            "axes_dim": [16, 56, 56], "theta": 10000, "patch_size": 2, "qkv_bias": True, "guidance_embed": True,
        },
        "1024 × 1024", (16, 128, 128), (512, 4096), {"y": (768,), "guidance": ()}, halves=1,
    ),
    "Wan 2.1 1.3B": Architecture(
        "WAN21_T2V",
        {
            "image_model": "wan2.1", "model_type": "t2v", "dim": 1536, "ffn_dim": 8960, "text_dim": 4096, "num_heads": 12,
            "num_layers": 30,
        },
        "33 frames of 480 × 832", (16, 9, 60, 104), (512, 4096),
    ),
    "LTX-Video 2B": Architecture(
        "LTXV",
        {"image_model": "ltxv", "cross_attention_dim": 2048, "attention_head_dim": 64, "num_layers": 28},
        "97 frames of 512 × 768", (128, 13, 16, 24), (128, 4096), constants={"frame_rate": 25, "attention_mask": None},
    ),
}  # fmt: skip
