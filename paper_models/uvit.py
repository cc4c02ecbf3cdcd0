"""U-ViT: a vision transformer with the long skip connections of a UNet (Bao et al. 2023, arXiv 2209.12152).

Time, class and patches are all tokens. Each block of the second half also gets the output of its counterpart in the first half.
Parameters are named as in the published files.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

# In published models, attention heads are 64 wide, except in the huge model of width 1152, which has 16 heads. Only the huge
# model was trained on the 1000 discrete steps of Stable Diffusion's schedule, numbered from 1. The others were trained in
# continuous time from 0 to 1, which is multiplied by 999 before it is passed to the network.
HEAD, HUGE, HUGE_HEADS = 64, 1152, 16
STEPS = 1000
VP_BETAS = 0.1, 20.0


def sinusoid(times: Tensor, width: int) -> Tensor:
    """Embed times (B,) as (B, width): cosines, then sines, with frequencies from 1 down to 1/10000."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, device=times.device) / half)
    angles = times[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], 1)


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, D)."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """A two-layer perceptron, applied to each token."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, T, D)."""
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """A transformer block; blocks of the second half have a skip connection."""

    def __init__(self, width: int, heads: int, hidden: int, bias: bool, skips: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, bias)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, hidden)
        self.skip_linear = nn.Linear(2 * width, width) if skips else None

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Tokens (B, T, D)."""
        if self.skip_linear is not None and skip is not None:
            x = self.skip_linear(torch.cat([x, skip], -1))
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """Turns patches into tokens."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        """Latents (B, C, H, W) to (B, T, D)."""
        return self.proj(x).flatten(2).transpose(1, 2)


def sigmas() -> Tensor:
    """Noise levels (1000,) of the variance-preserving process (Song et al. 2021, Eq. 33), in ComfyUI's scaling."""
    low, high = VP_BETAS
    time = torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS
    integral = low * time + (high - low) * time.square() / 2
    return torch.expm1(integral).sqrt()


class UViT(nn.Module):
    """Noise prediction of latents (B, C, side, side) at times 0 to 999 with class labels (B,)."""

    def __init__(
        self, channels: int, width: int, patch: int, blocks: int, hidden: int, tokens: int, classes: int, bias: bool, conv: bool,
        time_mlp: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        heads = HUGE_HEADS if width == HUGE else max(1, width // HEAD)
        self.patch, self.channels, self.width, self.classes = patch, channels, width, classes
        self.extra = 2 if classes else 1
        self.side = math.isqrt(tokens - self.extra) * patch
        self.patch_embed = PatchEmbed(channels, width, patch)
        mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))
        self.time_embed = mlp if time_mlp else nn.Identity()
        if classes:
            self.label_emb = nn.Embedding(classes, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        self.in_blocks = nn.ModuleList(Block(width, heads, hidden, bias) for _ in range(blocks))
        self.mid_block = Block(width, heads, hidden, bias)
        self.out_blocks = nn.ModuleList(Block(width, heads, hidden, bias, skips=True) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.decoder_pred = nn.Linear(width, patch**2 * channels)
        self.final_layer = nn.Conv2d(channels, channels, 3, padding=1) if conv else nn.Identity()

    @property
    def continuous(self) -> bool:
        """Whether the network was trained in continuous time."""
        return self.width != HUGE

    def own_times(self, times: Tensor) -> Tensor:
        """The network's own time for steps 0 to 999 of ``sigmas`` or of Stable Diffusion's schedule."""
        return (times + 1) * ((STEPS - 1) / STEPS if self.continuous else 1)

    def forward(self, x: Tensor, times: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predict the noise.

        Raises:
            ValueError: the latent does not have the size that the network was trained on.
        """
        if x.shape[2:] != (self.side, self.side):
            raise ValueError(
                f"this U-ViT needs latents of {self.side}x{self.side}, got {x.shape[3]}x{x.shape[2]}: change the latent's size."
            )
        tokens = [self.time_embed(sinusoid(self.own_times(times), self.width).to(x.dtype))[:, None], self.patch_embed(x)]
        if self.classes:
            tokens.insert(0, self.label_emb(labels)[:, None])
        hidden = torch.cat(tokens, 1) + self.pos_embed
        skips = []
        for block in self.in_blocks:
            hidden = block(hidden)
            skips.append(hidden)
        hidden = self.mid_block(hidden)
        for block in self.out_blocks:
            hidden = block(hidden, skips.pop())
        patches = self.decoder_pred(self.norm(hidden))[:, self.extra :]
        rows = self.side // self.patch
        grid = patches.unflatten(2, (self.patch, self.patch, self.channels)).unflatten(1, (rows, rows))
        return self.final_layer(grid.permute(0, 5, 1, 3, 2, 4).reshape(x.shape))


def from_tensors(tensors: Mapping[str, Tensor]) -> UViT:
    """The network that the tensors belong to, with these weights."""
    width, channels, patch, _ = tensors["patch_embed.proj.weight"].shape
    arguments: dict[str, Any] = {
        "channels": channels,
        "width": width,
        "patch": patch,
        "blocks": len({name.split(".")[1] for name in tensors if name.startswith("in_blocks.")}),
        "hidden": len(tensors["mid_block.mlp.fc1.weight"]),
        "tokens": tensors["pos_embed"].shape[1],
        "classes": len(tensors["label_emb.weight"]) if "label_emb.weight" in tensors else 0,
        "bias": "mid_block.attn.qkv.bias" in tensors,
        "conv": "final_layer.weight" in tensors,
        "time_mlp": "time_embed.0.weight" in tensors,
    }
    network = UViT(**arguments)
    network.load_state_dict(dict(tensors), strict=True)
    return network
