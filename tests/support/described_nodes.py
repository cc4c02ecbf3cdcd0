"""ComfyUI's descriptions of node classes, without a ComfyUI: of this pack, from the golden file, and of some stock nodes."""

import json
from pathlib import Path
from typing import Any

from uncertainty_runs.node_info import NodeInfo, no_such_node

GOLDEN = json.loads((Path(__file__).parent.parent / "server" / "object_info.json").read_text())
KSAMPLER = ("model", "seed", "steps", "cfg", "sampler_name", "scheduler", "positive", "negative", "latent_image", "denoise")
STAGE = ("add_noise", "start_at_step", "end_at_step", "return_with_leftover_noise")
CUSTOM = ("noise", "guider", "sampler", "sigmas", "latent_image")

TEXT = ("STRING", {"multiline": True})
TWO_CONDITIONS = {"positive": ("CONDITIONING",), "negative": ("CONDITIONING",)}

# Required inputs and outputs.
COMFYUI: dict[str, tuple[dict[str, Any], list[str]]] = {
    "KSampler": (dict.fromkeys(KSAMPLER, ("ANY",)), ["LATENT"]),
    "SamplerCustomAdvanced": (dict.fromkeys(CUSTOM, ("ANY",)), ["LATENT", "LATENT"]),
    "KSamplerAdvanced": (
        dict.fromkeys(({*KSAMPLER} - {"seed", "denoise"}) | {"noise_seed", *STAGE}, ("ANY",)),
        ["LATENT"],
    ),
    "SamplerCustom": (
        dict.fromkeys(("model", "add_noise", "noise_seed", "cfg", "sampler", "sigmas"), ("ANY",)),
        ["LATENT", "LATENT"],
    ),
    "CLIPTextEncode": ({"text": TEXT, "clip": ("CLIP",)}, ["CONDITIONING"]),
    "CLIPTextEncodeSDXL": ({"clip": ("CLIP",), "width": ("INT",), "text_g": TEXT, "text_l": TEXT}, ["CONDITIONING"]),
    "CLIPTextEncodeFlux": ({"clip": ("CLIP",), "clip_l": TEXT, "t5xxl": TEXT, "guidance": ("FLOAT",)}, ["CONDITIONING"]),
    "ConditioningCombine": (dict.fromkeys(("conditioning_1", "conditioning_2"), ("CONDITIONING",)), ["CONDITIONING"]),
    "ControlNetApplyAdvanced": (TWO_CONDITIONS | {"image": ("IMAGE",)}, ["CONDITIONING", "CONDITIONING"]),
    "PrimitiveString": ({"value": ("STRING", {})}, ["STRING"]),
    "PrimitiveInt": ({"value": ("INT", {})}, ["INT"]),
    "StringConcatenate": ({"string_a": TEXT, "string_b": TEXT, "delimiter": ("STRING", {})}, ["STRING"]),
    "LoadTextFile": ({"path": ("STRING", {})}, ["STRING"]),
    "RandomNoise": ({"noise_seed": ("INT", {})}, ["NOISE"]),
    "EmptyLatentImage": ({"width": ("INT",), "height": ("INT",), "batch_size": ("INT",)}, ["LATENT"]),
    "LatentUpscale": ({"samples": ("LATENT",)}, ["LATENT"]),
    "RebatchLatents": ({"latents": ("LATENT",), "batch_size": ("INT",)}, ["LATENT"]),
    "LoadImage": ({"image": (["a.png"],)}, ["IMAGE", "MASK"]),
    "VAEEncode": ({"pixels": ("IMAGE",), "vae": ("VAE",)}, ["LATENT"]),
    "VAEDecode": ({"samples": ("LATENT",), "vae": ("VAE",)}, ["IMAGE"]),
    "CheckpointLoaderSimple": ({"ckpt_name": (["any.safetensors"],)}, ["MODEL", "CLIP", "VAE"]),
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
