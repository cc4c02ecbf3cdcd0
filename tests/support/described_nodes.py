"""ComfyUI's descriptions of node classes, without a ComfyUI: of this pack, from the golden file, and of some stock nodes."""

import json
from pathlib import Path
from typing import Any

from uncertainty_runs.node_info import NodeInfo, no_such_node

GOLDEN = json.loads((Path(__file__).parent.parent / "server" / "object_info.json").read_text())
KSAMPLER = ("model", "seed", "steps", "cfg", "sampler_name", "scheduler", "positive", "negative", "latent_image", "denoise")
CUSTOM = ("noise", "guider", "sampler", "sigmas", "latent_image")

# Required inputs and outputs.
COMFYUI: dict[str, tuple[dict[str, Any], list[str]]] = {
    "KSampler": (dict.fromkeys(KSAMPLER, ("ANY",)), ["LATENT"]),
    "SamplerCustomAdvanced": (dict.fromkeys(CUSTOM, ("ANY",)), ["LATENT", "LATENT"]),
    "BasicGuider": ({"model": ("MODEL",), "conditioning": ("CONDITIONING",)}, ["GUIDER"]),
    "RepeatLatentBatch": (
        {"samples": ("LATENT",), "amount": ("INT", {"default": 1, "min": 1, "max": 64})},
        ["LATENT"],
    ),
    "PerturbedAttentionGuidance": ({"model": ("MODEL",), "scale": ("FLOAT", {"default": 3.0})}, ["MODEL"]),
    "SelfAttentionGuidance": (
        {"model": ("MODEL",), "scale": ("FLOAT", {"default": 0.5}), "blur_sigma": ("FLOAT", {"default": 2.0})},
        ["MODEL"],
    ),
}


def describe(class_type: str) -> NodeInfo:
    """Answer as a renderer does."""
    if class_type in GOLDEN:
        return NodeInfo.of(class_type, GOLDEN[class_type]["input"], GOLDEN[class_type]["output"])
    if class_type not in COMFYUI:
        raise no_such_node(class_type)
    required, outputs = COMFYUI[class_type]
    return NodeInfo.of(class_type, {"required": required}, outputs)
