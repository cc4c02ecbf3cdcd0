"""Digests by which models and prompts are known again."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def model_digest(model: torch.nn.Module) -> str:
    """Name of a model's class and a digest of its layers' shapes and its first vector of weights: tells checkpoints apart."""
    digest = hashlib.sha256()
    vector = None
    for name, parameter in model.diffusion_model.named_parameters():
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        ordinary = type(parameter) in (Tensor, torch.nn.Parameter)
        if vector is None and ordinary and parameter.ndim == 1 and parameter.numel() > 1:
            vector = parameter
    if vector is not None:
        digest.update(vector.detach().to("cpu", torch.bfloat16).view(torch.uint8).numpy().tobytes())
    return f"{type(model).__name__} {digest.hexdigest()[:12]}"


def prompt_digest(conds: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Digest of what a text encoder made of the prompts: equal prompts, equal digests, and no way back to the text."""
    digest = hashlib.sha256()
    for name in sorted(conds):
        for cond in conds[name]:
            for part in ("cross_attn", "pooled_output"):
                if isinstance(cond.get(part), Tensor):
                    encoded = cond[part].detach().to("cpu", torch.float32).contiguous()
                    digest.update(f"{name} {part} {tuple(encoded.shape)}".encode() + encoded.numpy().tobytes())
    return digest.hexdigest()[:16]
