"""Digests that identify models and prompts."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def model_digest(model: Any) -> str:
    """The name of a model's class and a digest of its layers' shapes and first weight vector, which identifies a checkpoint."""
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
    """Digest of the encoded prompts. Equal prompts have equal digests, and the text cannot be recovered."""
    digest = hashlib.sha256()
    for name in sorted(conds):
        for cond in conds[name]:
            for part in ("cross_attn", "pooled_output"):
                if isinstance(cond.get(part), Tensor):
                    encoded = cond[part].detach().to("cpu", torch.float32).contiguous()
                    digest.update(f"{name} {part} {tuple(encoded.shape)}".encode() + encoded.numpy().tobytes())
    return digest.hexdigest()[:16]
