"""Tensors in main memory up to so many bytes, and in temporary files beyond."""

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor


class Room:
    """Room for the tensors of a run.

    Args:
        size: bytes of main memory; None for no limit.
        folder: folder of the temporary files; None for the system's.

    Attributes:
        on_disk: bytes of the tensors in files.
    """

    def __init__(self, size: int | None = None, folder: Path | None = None) -> None:
        self.left: float = math.inf if size is None else size
        self.folder = folder
        self.on_disk = 0

    def takes(self, size: int) -> bool:
        """Whether so many bytes still fit into main memory; if so, they are taken."""
        if size > self.left:
            return False
        self.left -= size
        return True

    def zeros(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """A tensor of zeros, in a file if main memory has no room left for it. The file goes with the tensor.

        Raises:
            OSError: the disk is full.
        """
        size = math.prod(shape) * dtype.itemsize
        return torch.zeros(tuple(shape), dtype=dtype) if self.takes(size) else self.mapped(shape, dtype)

    def mapped(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor of zeros in a temporary file that is deleted when the tensor is freed.

        Raises:
            OSError: the disk is full.
        """
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(".map", "uncertainty_", self.folder)
        try:
            count = math.prod(shape)
            _reserve(descriptor, count * dtype.itemsize)
            self.on_disk += count * dtype.itemsize
            return torch.from_file(name, shared=True, size=count, dtype=dtype).reshape(tuple(shape))
        finally:
            os.close(descriptor)
            with suppress(PermissionError):  # Windows cannot delete open files; ComfyUI empties its temporary folder at startup
                Path(name).unlink()


def _reserve(descriptor: int, size: int) -> None:
    """Allocate the disk space now: if the disk filled up later, writing to the mapping would kill the process."""
    allocate: Callable[[int, int, int], None] | None = getattr(os, "posix_fallocate", None)
    if allocate is None:
        os.ftruncate(descriptor, size)
    else:
        allocate(descriptor, 0, size)
