"""Running out of memory, on any device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

OutOfMemory = torch.cuda.OutOfMemoryError

# How processors and Apple's graphics processors say it.
SAID = ("can't allocate memory", "not enough memory", "out of memory")


@contextmanager
def named_out_of_memory() -> Iterator[None]:
    """Within this context, every device raises ``OutOfMemory`` where processors raise a plain RuntimeError."""
    try:
        yield
    except OutOfMemory:
        raise
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or any(words in str(error).lower() for words in SAID):
            raise OutOfMemory(str(error)) from error
        raise
