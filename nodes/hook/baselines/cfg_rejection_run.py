"""The baseline CFG-Rejection in a sampling run."""

from typing import Any

import torch
from torch import Tensor

from ....uncertainty.baselines import cfg_rejection
from ....uncertainty.estimators import mean_over_elements
from ..model_call import Call
from .summed_score import SummedScore


class CfgRejection(SummedScore):
    """Accumulated difference between the predictions with and without the prompt, over the first steps."""

    name = cfg_rejection.BASELINE.name

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Select the first steps, regardless of the window; raise ValueError for a run without CFG."""
        self.steps = cfg_rejection.EARLY.steps(len(schedule) - 1)
        if not self.applies_to(guider):
            raise ValueError(
                "cfg_rejection needs one positive prompt, one negative prompt and a cfg other than 1: change these, or turn "
                "cfg_rejection off."
            )

    @staticmethod
    def applies_to(guider: Any) -> bool:
        """Whether CFG compares a prompt with another."""
        return set(guider.conds) == {"positive", "negative"} and guider.cfg != 1

    @staticmethod
    def compares(call: Call) -> bool:
        """Whether a call made one prediction with the prompt and one without."""
        return [prediction.shape for prediction in call.predictions] == [call.x.shape] * 2

    def evaluates(self, step: int) -> bool:
        """Never: it compares what the sampler's own call predicted."""
        return False

    def measure(self, call: Call) -> Tensor:
        """The squared difference of this step; 0 at the first step of a flow model, which sees pure noise."""
        if not self.compares(call):
            raise ValueError(
                "cfg_rejection needs one prediction with the prompt and one without at every step, but "
                f"{type(call.guider).__name__} makes others: turn cfg_rejection off."
            )
        conditional, unconditional = (prediction.float() for prediction in call.predictions)
        try:
            level = call.level
        except ValueError:
            return torch.zeros_like(call.x)
        return cfg_rejection.squared_difference(conditional, unconditional, level.a / level.b)

    def contribution(self, measured: Tensor, mask: Tensor | None) -> Tensor:
        """The difference of this step, (B,): the root of the mean square."""
        return mean_over_elements(measured, mask).sqrt()


class FreeCfgRejection(CfgRejection):
    """The same where a run offers it, and nothing where it does not."""

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Select the first steps of a run with CFG, and none of another."""
        self.steps = range(0)
        if self.applies_to(guider):
            super().prepare(guider, schedule, window)

    def observe(self, call: Call) -> None:
        """Add the step of this call if it has the two predictions."""
        if self.compares(call):
            super().observe(call)
