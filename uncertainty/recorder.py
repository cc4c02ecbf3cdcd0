"""Keeps the quantities of a run step by step."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .choices import check_choice
from .room import Room

KEEP = ("every_step", "sum", "on_disk")


class Recorder:
    """Quantities of the steps of a run.

    Args:
        keep: ``every_step`` and ``on_disk`` keep all steps where there is room; ``sum`` keeps only their sum, as one step with
            the number and noise level of the last.
        steps: the largest number of steps that will be recorded.
        room: where they are kept; by default main memory without a limit.

    Raises:
        ValueError: ``keep`` is not one of ``KEEP``.
    """

    def __init__(self, keep: str, steps: int, room: Room | None = None) -> None:
        check_choice("keep_maps", keep, KEEP)
        self.keep = keep
        self.most = 1 if keep == "sum" else steps
        self.room = room or Room()
        self.steps: list[int] = []
        self._sigmas: list[float] = []
        self._values: dict[str, Tensor] = {}
        self._errors: dict[str, Tensor] = {}

    def record(self, step: int, quantities: Mapping[str, Tensor], errors: Mapping[str, Tensor], sigma: float) -> None:
        """Record a step: quantities (B, C, *spatial), standard errors (B,) and noise level.

        Raises:
            OSError: the disk is full.
        """
        if not self.steps:
            self._values = {name: self.room.zeros((self.most, *values.shape)) for name, values in quantities.items()}
            self._errors = {name: torch.zeros(self.most, *values.shape) for name, values in errors.items()}
        row = 0 if self.keep == "sum" else len(self.steps)
        copied = _in_main_memory([*quantities.values(), *errors.values()])
        values = dict(zip(quantities, copied[: len(quantities)], strict=True))
        uncertain = dict(zip(errors, copied[len(quantities) :], strict=True))
        for name in self._values:
            value, error = values[name], uncertain[name]
            if self.keep == "sum":
                self._values[name][0] += value
                self._errors[name][0] = torch.hypot(self._errors[name][0], error)
            else:
                self._values[name][row].copy_(value)
                self._errors[name][row].copy_(error)
        self.steps.append(step)
        self._sigmas.append(sigma)

    def arguments(self) -> dict[str, Any]:
        """Arguments for an ``UncertaintyMap``: quantities, standard errors, steps and noise levels."""
        if not self.steps:
            return {"quantities": {}, "standard_errors": {}, "steps": (), "sigmas": torch.empty(0)}
        order = [len(self.steps) - 1]
        rows: slice | list[int] = slice(0, 1)
        if self.keep != "sum":
            order = sorted(range(len(self.steps)), key=lambda row: self.steps[row])
            # Steps almost always arrive in order, and a slice copies nothing.
            rows = slice(0, len(order)) if order == list(range(len(order))) else order
        return {
            "quantities": {name: values[rows] for name, values in self._values.items()},
            "standard_errors": {name: values[rows] for name, values in self._errors.items()},
            "steps": tuple(self.steps[row] for row in order),
            "sigmas": torch.tensor([self._sigmas[row] for row in order]),
        }


def _in_main_memory(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors in float32 in main memory, for which a graphics card is waited for once."""
    together = torch.cat([tensor.float().flatten() for tensor in tensors]).cpu()
    parts = torch.split(together, [tensor.numel() for tensor in tensors])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
