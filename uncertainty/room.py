"""Tensors in main memory up to so many bytes, and in temporary files beyond."""

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

AT_ONCE = 1 << 24  # bytes


class Room:
    """Room for the tensors of a run.

    Args:
        size: bytes of main memory; None for no limit.
        folder: folder of the temporary files; None for the system's.
        give_way: called with the bytes that are missing in main memory; frees as many or more where it can, and returns how many.

    Attributes:
        on_disk: bytes of the tensors in files.
    """

    def __init__(
        self, size: int | None = None, folder: Path | None = None, give_way: Callable[[float], int] = lambda missing: 0
    ) -> None:
        self.left: float = math.inf if size is None else size
        self.folder = folder
        self.on_disk = 0
        self._give_way = give_way

    def takes(self, size: int) -> bool:
        """Whether so many bytes still fit into main memory; if so, they are taken."""
        if size > self.left:
            self.left += self._give_way(size - self.left)
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

    def copied(self, tensor: Tensor) -> Tensor:
        """A copy in main memory, or in a file if that has no room left.

        Raises:
            OSError: the disk is full.
        """
        return self.zeros(tensor.shape, tensor.dtype).copy_(tensor)

    def mapped(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor of zeros in a temporary file that is deleted when the tensor is freed: on Windows, when the next one is made.

        Raises:
            OSError: the disk is full.
        """
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(".map", "uncertainty_", self.folder)
        count = math.prod(shape)
        size = count * dtype.itemsize
        try:
            _reserve(descriptor, size)
            self.on_disk += size
            return torch.from_file(name, shared=True, size=count, dtype=dtype).reshape(tuple(shape))
        except OSError as error:
            raise OSError(
                f"maps of {size / 2**20:.0f} MB do not fit on the disk of {Path(name).parent} ({error.strerror}): make space "
                "there, or in Uncertainty Options set keep_maps to sum or map_memory to more."
            ) from error
        finally:
            os.close(descriptor)
            _undeleted.add(Path(name))  # not before, because another thread may be deleting
            _delete_what_is_free()


def in_memory(tensors: Iterable[Tensor]) -> int:
    """Bytes of main memory that tensors take, those in files none."""
    return sum(memory.nbytes() for memory in _memories(tensors) if memory.filename is None)


def in_all(tensors: Iterable[Tensor]) -> int:
    """Bytes that tensors take, in main memory and in files."""
    return sum(memory.nbytes() for memory in _memories(tensors))


def _memories(tensors: Iterable[Tensor]) -> Iterable[torch.UntypedStorage]:
    """What tensors lie in; what several share once, and the whole of what they are a part of."""
    memories = (tensor.untyped_storage() for tensor in tensors)
    return {memory.data_ptr(): memory for memory in memories}.values()


# Files of this process that Windows did not delete, because they were mapped; ComfyUI empties its temporary folder at startup.
_undeleted: set[Path] = set()


def _delete_what_is_free() -> None:
    for path in list(_undeleted):
        with suppress(PermissionError):
            path.unlink(missing_ok=True)
            _undeleted.discard(path)


def _reserve(descriptor: int, size: int) -> None:
    """Allocate the disk space now: if the disk filled up later, writing to the mapping would kill the process."""
    allocate: Callable[[int, int, int], None] | None = getattr(os, "posix_fallocate", None)
    if allocate is not None:
        allocate(descriptor, 0, size)
        return
    part = bytes(min(size, AT_ONCE))  # macOS would only note the length
    while size > 0:
        size -= os.write(descriptor, part[:size])
