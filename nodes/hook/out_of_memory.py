"""Running out of memory, on any device."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import comfy.model_management
import torch

OutOfMemory = torch.cuda.OutOfMemoryError
Result = TypeVar("Result")

log = logging.getLogger(__name__)

# How others than CUDA's allocator say it: processors, Apple's graphics processors, DirectML, CUDA's libraries.
SAID = (
    "can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "bad allocation", "video memory", "alloc_failed",
)  # fmt: skip


@contextmanager
def named_out_of_memory() -> Iterator[None]:
    """Within this context, running out of memory raises ``OutOfMemory`` where devices raise a plain RuntimeError."""
    try:
        yield
    except OutOfMemory:
        raise
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or any(words in str(error).lower() for words in SAID):
            raise OutOfMemory(str(error)) from error
        raise


def or_one_by_one(run: Callable[[int], Result], at_once: int) -> tuple[Result, int]:
    """Run with so many probes per call of the model or, if memory runs out, with one; also returns which."""
    try:
        with named_out_of_memory():
            return run(at_once), at_once
    except OutOfMemory:
        if at_once == 1:
            raise
        log.warning("measuring uncertainty ran out of memory with %d probes per call and continues with one at a time.", at_once)
    # Outside the handler, because the exception keeps the failed call's activations alive.
    comfy.model_management.soft_empty_cache()
    with named_out_of_memory():
        return run(1), 1
