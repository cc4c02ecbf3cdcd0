"""The demo network: ComfyUI's UNet on 64x64 RGB pixels, preconditioned by the angle of its noise level.

The noising process has unit-norm coefficients, ``z = cos(θ)·x0 + sin(θ)·n``. The UNet predicts the clean image x0, because a
small network on large patches can draw flat colours but cannot pass the noise of every pixel through to its output (Li & He 2025,
arXiv 2511.13720). A fixed linear map turns x0 into the prediction of the family, the noise (EPS) or the flow velocity ``n - x0``
(CONST), so that both families use the same weights.
"""

import math
from typing import Any

import torch
from comfy.ldm.common_dit import pad_to_patch_size
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

PATCH = 4
IMAGE_SIZE = 64
CONTEXT_DIM = 192

UNET_CONFIG: dict[str, Any] = {
    "image_size": IMAGE_SIZE // PATCH,
    "in_channels": 3 * PATCH**2,
    "out_channels": 3 * PATCH**2,
    "model_channels": 64,
    "channel_mult": (1, 3),
    "num_res_blocks": [1, 2],
    "dropout": 0.05,
    "num_head_channels": 32,
    "use_spatial_transformer": True,
    "transformer_depth": [0, 0, 1],
    "transformer_depth_output": [0, 0, 0, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": CONTEXT_DIM,
    "num_classes": "sequential",
    "adm_in_channels": CONTEXT_DIM,
    "use_scale_shift_norm": True,
    "use_linear_in_transformer": True,
    "legacy": False,
}


def angle_from_sigma(sigma: Tensor) -> Tensor:
    """Angle θ in [0, π/2) of a variance-exploding noise level: tan(θ) = σ."""
    return torch.atan(sigma)


def angle_from_flow(sigma: Tensor) -> Tensor:
    """Angle θ in [0, π/2] of a rectified-flow time in [0, 1]: tan(θ) = σ / (1 - σ)."""
    return torch.atan2(sigma, 1 - sigma)


class DemoUNet(UNetModel):
    """ComfyUI's UNet over square patches; subclasses convert the inputs and outputs of each family."""

    def __init__(self, *args: Any, patch: int = PATCH, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.patch = patch

    def denoised(self, z: Tensor, angle: Tensor, *conditioning: Any, **kwargs: Any) -> Tensor:
        """Predict ``x0`` for unit-norm input ``z`` (B, C, H, W) at ``angle`` (B,); other arguments go to the UNet."""
        embedded_time = angle * (1000 / (math.pi / 2))
        height, width = z.shape[-2:]
        patches = pixel_unshuffle(pad_to_patch_size(z, (self.patch, self.patch)), self.patch)
        return pixel_shuffle(super()._forward(patches, embedded_time, *conditioning, **kwargs), self.patch)[..., :height, :width]


class NoisePredictingUNet(DemoUNet):
    """EPS family. Its input is ``z``, its output the noise ``(z - cos(θ)·x0) / sin(θ)``; time is an index into the sigmas."""

    def __init__(self, *args: Any, sigmas: Tensor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("angles", angle_from_sigma(sigmas), persistent=False)

    def _forward(self, x: Tensor, timesteps: Tensor, *conditioning: Any, **kwargs: Any) -> Tensor:
        angle = self.angles.to(x.device)[timesteps.round().long()]
        sin, cos = (f(angle).to(x.dtype).view(-1, 1, 1, 1) for f in (torch.sin, torch.cos))
        return (x - cos * self.denoised(x, angle, *conditioning, **kwargs)) / sin


class FlowUNet(DemoUNet):
    """CONST family. Its input is ``(1 - σ)·x0 + σ·n``, its output the flow velocity ``n - x0``; time is 1000·σ."""

    def _forward(self, x: Tensor, timesteps: Tensor, *conditioning: Any, **kwargs: Any) -> Tensor:
        sigma = timesteps / 1000
        angle = angle_from_flow(sigma)
        sin, cos = (f(angle).to(x.dtype).view(-1, 1, 1, 1) for f in (torch.sin, torch.cos))
        z = x / torch.hypot(sigma, 1 - sigma).to(x.dtype).view(-1, 1, 1, 1)
        denoised = self.denoised(z, angle, *conditioning, **kwargs)
        return (z - cos * denoised) / sin - denoised
