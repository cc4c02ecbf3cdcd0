"""Counts the bytes and operations of a model call exactly, without computing it."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten


def _attention(query: Any, key: Any, value: Any, *others: Any, **named: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *others: Any, **named: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))


# torch knows those of graphics cards alone.
ATTENTION = {
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class LiveBytes(TorchDispatchMode):
    """Follows the memory of all tensors made within this context.

    torch's own ``MemTracker`` cannot be used: it follows modules, and refuses weights that need no gradient.

    Attributes:
        peak: the most bytes that were alive at once.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._alive: set[int] = set()

    def ignore(self, tensors: list[Tensor]) -> None:
        """Leave out tensors from before, such as weights."""
        self._alive.update(tensor.untyped_storage()._cdata for tensor in tensors)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Run the operation and look at what it returns."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._see(tensor.untyped_storage())
        return made

    def _see(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return
        self._alive.add(key)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self._now -= size


def without_memory() -> FakeTensorMode:
    """Within this context, tensors have shapes but no contents."""
    return FakeTensorMode()


def counted(build: Callable[[], torch.nn.Module], run: Callable[[Any], object]) -> tuple[int, int, int]:
    """Bytes of the weights, most bytes above them while ``run(model)`` runs, and its floating-point operations."""
    with without_memory():
        model = build()
        held = [*model.parameters(), *model.buffers()]
        live, operations = LiveBytes(), FlopCounterMode(display=False, custom_mapping=ATTENTION)
        live.ignore(held)
        with operations, live:
            run(model)
    return sum(tensor.nbytes for tensor in held), live.peak, operations.get_total_flops()
