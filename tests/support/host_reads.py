"""Finds where the processor would wait for a graphics card, on a machine without one."""

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PACK = Path(__file__).resolve().parents[2]


ATEN = torch.ops.aten
# What needs a value, or as many elements as are true.
READING = {ATEN._local_scalar_dense, ATEN.equal, ATEN.is_nonzero, ATEN.nonzero, ATEN.masked_select}


class HostReads(TorchDispatchMode):
    """Follows what is computed from some tensors, which stand for those on a card, until it is copied with ``cpu()``.

    Attributes:
        lines: how often each line of the pack read such a value or copied it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: Counter[str] = Counter()
        self._there: dict[int, Any] = {}  # storages stay alive, so that no number is used twice

    def follow(self, tensor: Tensor) -> None:
        self._there[tensor.untyped_storage()._cdata] = tensor.untyped_storage()

    def follows(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._there

    def count(self) -> None:
        frames = ((Path(frame.filename), frame.lineno) for frame in reversed(traceback.extract_stack()))
        path, line = next((path, line) for path, line in frames if path != Path(__file__) and "torch" not in path.parts)
        if path.is_relative_to(PACK) and path.relative_to(PACK).parts[0] in ("uncertainty", "nodes"):
            self.lines[f"{path.relative_to(PACK)}:{line}"] += 1

    def __torch_dispatch__(  # noqa: D105
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        made = func(*args, **(kwargs or {}))
        if any(map(self.follows, given)):
            for leaf in tree_leaves(made):
                if isinstance(leaf, Tensor):
                    self.follow(leaf)
            if func.overloadpacket in READING:
                self.count()
        return made


@contextmanager
def host_reads() -> Iterator[HostReads]:
    """Within this context, reads are counted."""
    mode, copy, to_list, to = HostReads(), Tensor.cpu, Tensor.tolist, Tensor.to

    def counted(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not mode.follows(tensor):
            return copy(tensor, *args, **kwargs)
        mode.count()
        here = torch.empty(tensor.shape, dtype=tensor.dtype)
        here.numpy()[...] = tensor.detach().numpy()  # past the mode: what was copied is no longer on the card
        return here

    def listed(tensor: Tensor) -> Any:
        if mode.follows(tensor):
            mode.count()
        return to_list(tensor)

    def moved(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args[:1] in (("cpu",), (torch.device("cpu"),)) and not kwargs.get("non_blocking") and mode.follows(tensor):
            mode.count()
        return to(tensor, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patched, mode:
        patched.setattr(Tensor, "cpu", counted)
        patched.setattr(Tensor, "tolist", listed)
        patched.setattr(Tensor, "to", moved)
        yield mode
