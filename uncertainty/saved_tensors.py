"""Autograd through networks that write into tensors it has saved: what is about to be overwritten is copied first.

Not torch's ``allow_mutation_on_saved_tensors`` (torch 2.13): that takes a new tensor for a freed one of the same address, and
misses writes into a view that begins elsewhere than the saved tensor. Either can give another gradient without a word.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class _Saved:
    """A tensor that a backward pass will ask for. While it is held, no other can have its storage."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _CopyBeforeWriting(TorchDispatchMode):
    """Around every operation: copies what was saved of the storage that it writes to."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_storage: dict[int, WeakSet[_Saved]] = {}

    def save(self, tensor: Tensor) -> _Saved:
        """Instead of the tensor, what autograd keeps."""
        saved = _Saved(tensor)
        self.by_storage.setdefault(_storage(tensor), WeakSet()).add(saved)
        return saved

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Copy, then run."""
        kwargs = kwargs or {}
        for index, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                given = kwargs.get(argument.name) if argument.kwarg_only or index >= len(args) else args[index]
                for tensor in given if isinstance(given, list | tuple) else [given]:
                    if isinstance(tensor, Tensor):
                        self._copy(tensor)
        return func(*args, **kwargs)

    def _copy(self, written: Tensor) -> None:
        for saved in self.by_storage.pop(_storage(written), ()):
            saved.tensor = saved.tensor.clone()


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@contextmanager
def written_over() -> Iterator[None]:
    """Forward and backward pass inside may write into saved tensors; gradients are those of what was there before."""
    copies = _CopyBeforeWriting()
    with torch.autograd.graph.saved_tensors_hooks(copies.save, lambda saved: saved.tensor), copies:
        yield
