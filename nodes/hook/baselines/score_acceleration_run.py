"""The baseline score_acceleration in a sampling run."""

from typing import Any

import torch
from torch import Tensor

from ....uncertainty.baselines import score_acceleration
from ..model_call import Call
from .summed_score import SummedScore


class ScoreAcceleration(SummedScore):
    """Second differences of the noise predictions of all steps."""

    name = score_acceleration.BASELINE.name
    seen: tuple[Tensor, ...] = ()

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Select all steps, regardless of the window."""
        self.steps = range(len(schedule) - 1)

    def evaluates(self, step: int) -> bool:
        """Never: it compares what the sampler's own calls predicted."""
        return False

    def measure(self, call: Call) -> Tensor:
        """The acceleration up to this step; 0 for the first two, and at the first step of a flow model, which sees pure noise."""
        try:
            level = call.level
        except ValueError:
            return torch.zeros_like(call.x)
        self.seen = (*self.seen[-2:], level.noise_prediction(call.x, call.denoised))
        return score_acceleration.acceleration(*self.seen) if len(self.seen) == 3 else torch.zeros_like(call.x)
