"""A model that runs out of memory with large batches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch


@contextmanager
def limited(model: Any, fits: Callable[[int, bool], bool]) -> Iterator[list[int]]:
    """Lets the model run out of memory unless ``fits(batch, backward)`` is true; gives a list of its failures."""
    failures: list[int] = []
    apply = model.model.apply_model

    def forward(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if not fits(len(x), torch.is_grad_enabled() and x.requires_grad):
            failures.append(len(x))
            raise torch.cuda.OutOfMemoryError
        return apply(x, *args, **kwargs)

    # Not as a patch of the model: probes do not share a call where one is attached.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(model.model, "apply_model", forward)
        yield failures


AMPLE = 1e12


def free_memory(patch: pytest.MonkeyPatch, size: float) -> None:
    """Let ComfyUI find so many free bytes on every device, whatever the machine has."""
    import comfy.model_management

    def free(device: Any = None, torch_free_too: bool = False) -> Any:
        return (size, size) if torch_free_too else size

    patch.setattr(comfy.model_management, "get_free_memory", free)
