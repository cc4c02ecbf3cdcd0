"""A baseline whose score is a sum over some steps, each counted at its first call."""

from typing import Any

import torch
from torch import Tensor

from ....uncertainty.options import RunSettings
from ..model_call import Call


class SummedScore:
    """The part that such baselines share; each says what one step adds.

    Args:
        settings: of the run.
    """

    name: str

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        self.steps = range(0)
        self.parts: dict[int, Tensor] = {}

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Sum over the measured steps."""
        self.steps = window

    def observe(self, call: Call) -> None:
        """Add the step of this call, unless it was added before."""
        if call.step in self.steps and call.step not in self.parts:
            self.parts[call.step] = self.measure(call).float().cpu()

    def measure(self, call: Call) -> Tensor:
        """What a step adds, (B,)."""
        raise NotImplementedError

    def score(self) -> Tensor | None:
        """The sum, (B,); None before any step was added."""
        return torch.stack(list(self.parts.values())).sum(0) if self.parts else None
