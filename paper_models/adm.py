"""ADM, the ablated diffusion model (Dhariwal & Nichol 2021, arXiv 2105.05233), loaded from OpenAI's published files.

The network comes from the library azula. Attention heads, dropout and noise schedule cannot be read from the shapes in a file;
they are taken from the published model with the same number of levels: 4 (ImageNet 64×64), 5 (128×128) or 6 (256×256).
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

# By the number of levels: the noise schedule by ComfyUI's name, and the settings of attention and dropout.
PUBLISHED: dict[int, tuple[str, dict[str, Any]]] = {
    4: ("cosine", {"num_head_channels": 64, "use_new_attention_order": True, "dropout": 0.1}),
    5: ("sqrt_linear", {"num_heads": 4}),
    6: ("sqrt_linear", {"num_head_channels": 64}),
}


def arguments(tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]]:
    """Noise schedule and configuration of the network that the tensors belong to.

    Raises:
        ValueError: no published model has this number of levels.
    """
    output = {int(name.split(".")[1]) for name in tensors if name.startswith("output_blocks.")}
    # In the decoder, each level except the last ends with one more part: a residual block or a convolution that doubles the size.
    doubling = {
        name.split(".")[1] for name in tensors if re.fullmatch(r"output_blocks\.\d+\.[12]\.(in_layers\.2|conv)\.weight", name)
    }
    levels = 1 + len(doubling)
    if levels not in PUBLISHED:
        raise ValueError(
            f"this ADM file has {levels} levels, but only {', '.join(map(str, PUBLISHED))} (ImageNet 64, 128, 256) are supported."
        )
    each = len(output) // levels - 1
    width = tensors["time_embed.0.weight"].shape[1]
    first = [level * (each + 1) + 1 for level in range(levels)]  # first block of each level in the encoder
    channels = [len(tensors[f"input_blocks.{block}.0.out_layers.3.weight"]) for block in first]
    schedule, heads = PUBLISHED[levels]
    return schedule, {
        "image_size": None,  # stored by the library but not used
        "in_channels": tensors["input_blocks.0.0.weight"].shape[1],
        "out_channels": len(tensors["out.2.weight"]),
        "model_channels": width,
        "num_res_blocks": each,
        "channel_mult": tuple(count / width for count in channels),
        "attention_resolutions": {2**level for level in range(levels) if f"input_blocks.{first[level]}.1.qkv.weight" in tensors},
        "num_classes": len(tensors["label_emb.weight"]) if "label_emb.weight" in tensors else None,
        "use_scale_shift_norm": len(tensors["input_blocks.1.0.emb_layers.1.weight"]) == 2 * channels[0],
        "resblock_updown": f"input_blocks.{each + 1}.0.in_layers.2.weight" in tensors,
        **heads,
    }


def from_tensors(tensors: Mapping[str, Tensor]) -> tuple[nn.Module, str]:
    """The network with these weights, and its noise schedule.

    Raises:
        RuntimeError: azula is not installed.
        ValueError: the layout is not one of the published ones.
    """
    try:
        from azula.plugins.adm._src.unet import UNetModel
    except ImportError as error:
        raise RuntimeError("ADM models need the package azula: run pip install azula.") from error
    schedule, configuration = arguments(tensors)
    network = UNetModel(**configuration)
    network.load_state_dict(dict(tensors), strict=True)
    return network, schedule
