"""Models that sample several latents at once, at toy size: ComfyUI's own where a version has them, and one made for tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from families import Family
from real_models import Loaded, conditioning, patcher

VIDEO, SOUND = (4, 3, 6, 6), (8, 5, 16)


def nested(*tensors: Tensor) -> Any:
    """Several latents in one, as ComfyUI's nodes join them."""
    from comfy.nested_tensor import NestedTensor

    return NestedTensor(tensors)


def masks_are_packed() -> bool:
    """Whether this version of ComfyUI samples packed latents with a noise mask; 0.3.75 does not."""
    from comfy.samplers import CFGGuider

    return "denoise_masks" in CFGGuider.sample.__code__.co_varnames


def empty(*shapes: tuple[int, ...]) -> Callable[[int], dict]:
    """A function that makes empty latents of these shapes for a batch."""
    return lambda batch: {"samples": nested(*(torch.zeros(batch, *shape) for shape in shapes))}


@dataclass(frozen=True)
class PackedFamily:
    """A family whose latents are packed.

    Attributes:
        family: how its network is built; ``latent`` is the first part.
        others: shapes of the other parts.
        batch: the largest batch that its network takes.
    """

    family: Family
    others: tuple[tuple[int, ...], ...]
    batch: int = 2

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of all parts."""
        return (self.family.latent, *self.others)

    def load(self) -> Loaded:
        """The model with random weights. Call in inference mode."""
        loaded = self.family.load(None)  # type: ignore[arg-type]  # none of them is written to a file
        return Loaded(loaded.model, loaded.positive, loaded.negative, empty(*self.shapes))


PACKED: Mapping[str, PackedFamily] = {
    "LTX-2": PackedFamily(
        Family(
            "LTXAV", "CONST",
            {
                "image_model": "ltxav", "in_channels": 128, "audio_in_channels": 128, "cross_attention_dim": 64,
                "audio_cross_attention_dim": 32, "attention_head_dim": 16, "num_attention_heads": 4, "num_layers": 2,
                "audio_attention_head_dim": 8, "audio_num_attention_heads": 4, "caption_channels": 32,
                "connector_attention_head_dim": 8, "connector_num_attention_heads": 4,
            },
            (128, 3, 2, 3), (3, 64),
        ),
        ((8, 5, 16),),
    ),
    "MiniMax H3": PackedFamily(
        Family(
            "MiniMaxH3", "CONST",
            {
                "image_model": "minimax_h3", "hidden_size": 64, "num_layers": 2, "token_refiner_num_layers": 1,
                "num_attention_heads": 2, "attention_head_dim": 32, "ffn_hidden_size": 96, "text_dim": 48,
                "timestep_input_dim": 32, "time_embed_hidden_size": 64, "time_embed_dim": 32, "rope_inv_freq_len": 4,
            },
            (24, 2, 4, 4), (3, 48),
        ),
        ((32, 2, 8),),
        batch=1,
    ),
    "TripoSplat": PackedFamily(
        Family(
            "TripoSplat", "CONST",
            {
                "image_model": "triposplat", "q_token_length": 24, "model_channels": 48, "cond_channels": 32, "num_blocks": 2,
                "num_refiner_blocks": 1, "num_head_channels": 24, "cond2_channels": 16,
            },
            (24, 16), (9, 32),
        ),
        ((1, 5),),
    ),
}  # fmt: skip


class TwoNetworks(nn.Module):
    """One network for each part, of which the second does twice as much; ``crossed``, each also sees the other part's mean."""

    def __init__(self, crossed: bool = True, device: Any = None, operations: Any = None, **others: Any) -> None:
        super().__init__()
        self.dtype = torch.float32
        self.crossed = crossed
        self.first = nn.Conv3d(VIDEO[0], VIDEO[0], 3, padding=1)
        self.second = nn.Conv2d(SOUND[0], SOUND[0], 3, padding=1)

    def forward(self, x: Any, timestep: Tensor, context: Tensor, **others: Any) -> Any:
        said = context.mean((1, 2)) + timestep / 1000
        if isinstance(x, Tensor):  # one part alone
            network, strength = (self.first, 1) if x.ndim == 5 else (self.second, 2)
            return strength * (torch.tanh(network(x)) + said.reshape(-1, *[1] * (x.ndim - 1)))
        means = [part.flatten(1).mean(1) * self.crossed for part in reversed(x)]
        outputs = [self(part, timestep, context) for part in x]
        return [made + mean.reshape(-1, *[1] * (made.ndim - 1)) for made, mean in zip(outputs, means, strict=True)]


def two_networks(crossed: bool = True) -> Loaded:
    """A model of video and sound that every version of ComfyUI can sample, packed or each part alone."""
    import comfy.conds
    import comfy.latent_formats
    import comfy.model_base
    import comfy.supported_models_base

    class Model(comfy.model_base.BaseModel):
        def extra_conds(self, **kwargs: Any) -> dict:
            made = super().extra_conds(**kwargs) | {"c_crossattn": comfy.conds.CONDRegular(kwargs["cross_attn"])}
            if kwargs.get("latent_shapes") is not None and len(kwargs["latent_shapes"]) > 1:
                made["latent_shapes"] = comfy.conds.CONDConstant(kwargs["latent_shapes"])
            return made

    config = comfy.supported_models_base.BASE({"crossed": crossed})
    config.latent_format = comfy.latent_formats.LatentFormat()
    config.sampling_settings = {"shift": 1.0}
    config.set_inference_dtype(torch.float32, None)
    model = patcher(Model(config, comfy.model_base.ModelType.FLOW, unet_model=TwoNetworks), gain=2.0)
    return Loaded(model, *(conditioning(3, 4, 4, seed) for seed in (1, 2)), empty(VIDEO, SOUND))
