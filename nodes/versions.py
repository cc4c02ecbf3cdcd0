"""Differences between versions of ComfyUI, but for its kernels (``hook/kernels``). The tests run in 0.3.75."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import comfy.model_management
import torch
from comfy_api.latest import io

# Fields of a schema that versions after 0.3.75 have, with the first one: those without them would refuse the whole pack.
NEWER = {"search_aliases": "0.11", "essentials_category": "0.15"}


def schema(**described: Any) -> io.Schema:
    """A node's schema, without what this version of ComfyUI does not know."""
    unknown = NEWER.keys() - {field.name for field in fields(io.Schema)}
    return io.Schema(**{name: value for name, value in described.items() if name not in unknown})


def free_memory(patcher: Any, device: torch.device) -> float:
    """Bytes that a batch may take, as ComfyUI itself finds them: later versions count the weights that would make room."""
    find = getattr(patcher, "get_free_memory", comfy.model_management.get_free_memory)
    free: float = find(device)
    return free


def advanced(field: io.Input) -> io.Input:
    """Mark an input that few need, which front-ends fold away; versions before 0.10 lack the keyword, none the dictionary."""
    field.extra_dict["advanced"] = True
    return field


@contextmanager
def differentiable() -> Iterator[None]:
    """Within this context, networks use operations that have a backward pass.

    From 0.14 on, networks avoid most kernels that have none if their training flag is set; for the others see ``hook/kernels``.
    """
    module = comfy.model_management
    if not hasattr(module, "in_training"):
        yield
        return
    before, module.in_training = module.in_training, True
    try:
        yield
    finally:
        module.in_training = before
