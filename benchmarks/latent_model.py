"""A latent diffusion model for the benchmarks: the demo network, adapted to the latents of a linear patch autoencoder.

The weights file holds the autoencoder and the tensors that training changed; the others come from ``demo/emoji64.safetensors``.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import comfy.latent_formats
import comfy.model_patcher
import comfy.sd
import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from demo import model as demo

WEIGHTS = Path(__file__).with_name("latent16.safetensors")
PATCH = 4
CHANNELS = 12
LATENT = (CHANNELS, 16, 16)  # shape for one picture of 64x64 pixels


@dataclass(frozen=True)
class PatchCodec:
    """Linear autoencoder of 4x4 pixel patches, with ``encode`` and ``decode`` like ComfyUI's VAE.

    Attributes:
        components: orthonormal rows (C, 48), the principal components of the patches.
        scale: (C,), the amount of each component, in pixels, that one unit of latent stands for.
    """

    components: Tensor
    scale: Tensor

    @classmethod
    def of(cls, pixels: Tensor, channels: int = CHANNELS) -> "PatchCodec":
        """Fit the codec to pictures (B, 3, H, W) in [-1, 1].

        The pictures are not centred, so that grey stays zero and the codec is linear. The scale lies halfway between pixels,
        where noise hides detail long before colours, and channels of equal variance, where an error in a flat colour would count
        no more than one in the finest detail. The latents have a mean square of 1.
        """
        patches = pixel_unshuffle(pixels, PATCH).movedim(1, -1).flatten(0, -2).double()
        power, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        power, components = power.flip(0)[:channels], vectors.T.flip(0)[:channels]
        largest = components.gather(1, components.abs().argmax(1, keepdim=True))
        components = components * largest.sign()  # fixes the sign, which is arbitrary in eigenvectors
        deviation = power.sqrt()
        return cls(components.float(), (deviation * deviation.mean()).sqrt().float())

    def project(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in [-1, 1] to latents (B, C, H/4, W/4)."""
        matrix = (self.components / self.scale[:, None]).to(pixels)
        return torch.einsum("ck,bkhw->bchw", matrix, pixel_unshuffle(pixels, PATCH))

    def expand(self, latents: Tensor) -> Tensor:
        """Latents (B, C, H, W) to pixels (B, 3, 4H, 4W), about [-1, 1]. Linear, so it also works on differences."""
        matrix = (self.components * self.scale[:, None]).to(latents)
        return pixel_shuffle(torch.einsum("ck,bchw->bkhw", matrix, latents), PATCH)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, H, W, 3) in [0, 1] to latents."""
        return self.project(images.movedim(-1, 1) * 2 - 1)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to images (B, H, W, 3) in [0, 1]."""
        return (self.expand(latents).movedim(1, -1) / 2 + 0.5).clamp(0, 1)


class PatchLatents(comfy.latent_formats.LatentFormat):
    """The latents of a PatchCodec, which are already scaled."""

    latent_channels = CHANNELS


class LatentConfig(demo.DemoConfig):
    """The demo model's configuration with these latents."""

    latent_format = PatchLatents
    unet_extra_config: ClassVar[dict[str, Any]] = {}


def fingerprint(tensors: dict[str, Tensor]) -> str:
    """A digest that identifies the demo weights."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()[:16]


def load(
    family: str = demo.FAMILIES[0], path: Path = WEIGHTS
) -> tuple[comfy.model_patcher.ModelPatcher, comfy.sd.CLIP, PatchCodec]:
    """The latent model in one of the demo model's families, its text encoder and its autoencoder.

    Raises:
        FileNotFoundError: one of the two weights files is missing.
        ValueError: the family is unknown, or the demo weights are not those the latent model was trained from.
    """
    shared, header = demo.read(demo.WEIGHTS)
    tensors, own_header = demo.read(path)
    if own_header["base"] != fingerprint(shared):
        raise ValueError(f"{path.name} was not trained from the weights in {demo.WEIGHTS.name}: run `make train-latent`.")
    codec = PatchCodec(tensors.pop("codec.components"), tensors.pop("codec.scale"))
    patcher, clip = demo.build(shared | tensors, header | own_header, family, LatentConfig)
    return patcher, clip, codec
