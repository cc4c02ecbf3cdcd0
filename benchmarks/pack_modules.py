"""Modules of the pack as ComfyUI imports it, under a name of its own."""

import importlib
from typing import Any

from dev.launcher import import_pack


def pack(module: str) -> Any:
    """A module of the pack, such as ``nodes.hook.recompute``."""
    return importlib.import_module(f"{import_pack().__name__}.{module}")
