"""Autograd through networks that overwrite saved tensors in place: each saved tensor is copied before it is overwritten.

This does not use torch's ``allow_mutation_on_saved_tensors`` (torch 2.13), which mistakes a new tensor for a freed one at the
same address and misses writes to a view with another offset than the saved tensor. Both can silently give a wrong gradient.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class _Saved:
    """A tensor that a backward pass will need. Holding it prevents its storage from being reused."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _CopyBeforeWriting(TorchDispatchMode):
    """Before every operation, copies the saved tensors that share the storage it writes to."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_storage: dict[int, WeakSet[_Saved]] = {}

    def save(self, tensor: Tensor) -> _Saved:
        """Wrap a tensor that autograd saves."""
        saved = _Saved(tensor)
        self.by_storage.setdefault(_storage(tensor), WeakSet()).add(saved)
        return saved

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Copy saved tensors that the operation would overwrite, then run it."""
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
    # Unlike its address in memory, also known of tensors that are only counted.
    number: int = tensor.untyped_storage()._cdata
    return number


@contextmanager
def written_over() -> Iterator[None]:
    """Within this context, networks may overwrite saved tensors: gradients use the values from before."""
    copies = _CopyBeforeWriting()
    with torch.autograd.graph.saved_tensors_hooks(copies.save, lambda saved: saved.tensor), copies:
        yield
