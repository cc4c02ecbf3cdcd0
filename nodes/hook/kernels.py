"""A backward pass for ComfyUI's own kernels.

Versions after 0.3.75 rotate and normalise by kernels of the package comfy_kitchen, which autograd cannot differentiate. The
package also has each of these functions in torch's operations, for processors: their gradient is the kernels'.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

NAMES = (
    "apply_rope", "apply_rope1", "apply_rope_split_half", "apply_rope_split_half1",
    "rms_rope", "rms_rope1", "rms_rope_split_half", "rms_rope_split_half1",
)  # fmt: skip

Function = Callable[..., Any]


@cache
def make_differentiable() -> None:
    """Register the gradients, once in a process. Nothing else changes: results are those of the kernels."""
    try:
        from comfy_kitchen.backends.eager import rope
    except ImportError:  # 0.3.75 has no such package
        return
    for name in NAMES:
        if hasattr(rope, name) and hasattr(torch.ops.comfy_kitchen, name):
            _register(f"comfy_kitchen::{name}", getattr(rope, name))


def _register(operation: str, function: Function) -> None:
    """Let an operation have the gradient of a function of the same arguments."""

    def keep(ctx: Any, inputs: tuple, output: Any) -> None:
        ctx.given = [None if isinstance(given, Tensor) else given for given in inputs]
        ctx.places = [place for place, given in enumerate(inputs) if isinstance(given, Tensor)]
        ctx.save_for_backward(*(inputs[place] for place in ctx.places))

    def backward(ctx: Any, *gradients: Tensor) -> tuple:
        wanted = [place for place in ctx.places if ctx.needs_input_grad[place]]
        inputs = list(ctx.given)
        for place, saved in zip(ctx.places, ctx.saved_tensors, strict=True):
            inputs[place] = saved.detach().requires_grad_(place in wanted)
        with torch.enable_grad():
            made = function(*inputs)
        made = made if isinstance(made, tuple) else (made,)
        pairs = [(one, gradient) for one, gradient in zip(made, gradients, strict=True) if one.requires_grad]
        found = torch.autograd.grad([one for one, _ in pairs], [inputs[place] for place in wanted], [g for _, g in pairs])
        by_place = dict(zip(wanted, found, strict=True))
        return tuple(by_place.get(place) for place in range(len(inputs)))

    torch.library.register_autograd(operation, backward, setup_context=keep)
