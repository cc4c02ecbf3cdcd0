"""Base class for baselines that are a sum over steps, each measured at its first model call."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ....uncertainty.estimators import mean_over_elements
from ....uncertainty.options import RunSettings
from ..model_call import Call
from ..out_of_memory import or_one_by_one


class SummedScore:
    """A baseline that sums the maps of ``measure`` over steps, and ``part`` of them to a score.

    Args:
        settings: settings of the run.
    """

    name: str

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        self.steps = range(0)
        self.parts: dict[int, Tensor] = {}
        self.sum: Tensor | None = None

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Select the steps of the window."""
        self.steps = window

    def evaluates(self, step: int) -> bool:
        """Whether the step is one of the sum, each of which may evaluate the model."""
        return step in self.steps

    def observe(self, call: Call) -> None:
        """Add the step of this call unless it has been added before."""
        if call.step in self.steps and call.step not in self.parts:
            measured, _ = or_one_by_one(lambda passes: self.measure(replace(call, passes_per_call=passes)), call.passes_per_call)
            measured = measured.float()
            self.parts[call.step] = self.part(measured, call.mask).cpu()
            if call.mask is not None:
                measured = torch.where(call.mask > 0, measured, 0)
            self.sum = measured if self.sum is None else self.sum + measured

    def measure(self, call: Call) -> Tensor:
        """The map of one step, (B, C, *spatial)."""
        raise NotImplementedError

    def part(self, measured: Tensor, mask: Tensor | None) -> Tensor:
        """The contribution of one step's map to the score, (B,)."""
        return mean_over_elements(measured, mask)

    def score(self) -> Tensor | None:
        """The sum, (B,); None if no step has been added."""
        return torch.stack(list(self.parts.values())).sum(0) if self.parts else None

    def map(self) -> Tensor | None:
        """The summed map, (B, C, *spatial); None if no step has been added."""
        return self.sum
