"""ADM, the ablated diffusion model (Dhariwal & Nichol 2021, arXiv 2105.05233), out of OpenAI's published files.

The network is that of the library azula. What a file's shapes do not tell, heads, dropout and noise schedule, is that of the
published model with as many levels: 4 (ImageNet 64×64), 5 (128×128), 6 (256×256).
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

# By the number of levels: the schedule of ComfyUI's name for it, and how attention is split.
PUBLISHED: dict[int, tuple[str, dict[str, Any]]] = {
    4: ("cosine", {"num_head_channels": 64, "use_new_attention_order": True, "dropout": 0.1}),
    5: ("sqrt_linear", {"num_heads": 4}),
    6: ("sqrt_linear", {"num_head_channels": 64}),
}


def arguments(tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]]:
    """Schedule and configuration of the network that such tensors belong to.

    Raises:
        ValueError: no published model has as many levels.
    """
    output = {int(name.split(".")[1]) for name in tensors if name.startswith("output_blocks.")}
    # A level but the last ends, on the way up, with one part more: a residual block or a convolution that doubles the size.
    doubling = {
        name.split(".")[1] for name in tensors if re.fullmatch(r"output_blocks\.\d+\.[12]\.(in_layers\.2|conv)\.weight", name)
    }
    levels = 1 + len(doubling)
    if levels not in PUBLISHED:
        raise ValueError(
            f"this ADM file has {levels} levels; known are those of {', '.join(map(str, PUBLISHED))} (ImageNet 64, 128, 256)."
        )
    each = len(output) // levels - 1
    width = tensors["time_embed.0.weight"].shape[1]
    first = [level * (each + 1) + 1 for level in range(levels)]  # of each level, on the way down
    channels = [len(tensors[f"input_blocks.{block}.0.out_layers.3.weight"]) for block in first]
    schedule, heads = PUBLISHED[levels]
    return schedule, {
        "image_size": None,  # kept by the library, not used
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
    """The network with its tensors, and its schedule.

    Raises:
        RuntimeError: azula is not installed.
        ValueError: the layout is none of the published ones.
    """
    try:
        from azula.plugins.adm._src.unet import UNetModel
    except ImportError as error:
        raise RuntimeError("ADM models need a package: pip install azula.") from error
    schedule, configuration = arguments(tensors)
    network = UNetModel(**configuration)
    network.load_state_dict(dict(tensors), strict=True)
    return network, schedule
