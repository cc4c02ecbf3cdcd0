"""Base class for baselines whose score is a sum over steps, each measured at its first model call."""

from typing import Any

import torch
from torch import Tensor

from ....uncertainty.options import RunSettings
from ..model_call import Call


class SummedScore:
    """A baseline that sums ``measure`` over steps.

    Args:
        settings: settings of the run.
    """

    name: str

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        self.steps = range(0)
        self.parts: dict[int, Tensor] = {}

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Select the steps of the window."""
        self.steps = window

    def evaluates(self, step: int) -> bool:
        """Whether the step is one of the sum, each of which may evaluate the model."""
        return step in self.steps

    def observe(self, call: Call) -> None:
        """Add the step of this call unless it has been added before."""
        if call.step in self.steps and call.step not in self.parts:
            self.parts[call.step] = self.measure(call).float().cpu()

    def measure(self, call: Call) -> Tensor:
        """The contribution of one step, (B,)."""
        raise NotImplementedError

    def score(self) -> Tensor | None:
        """The sum, (B,); None if no step has been added."""
        return torch.stack(list(self.parts.values())).sum(0) if self.parts else None
