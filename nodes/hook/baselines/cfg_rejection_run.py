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
        if set(guider.conds) != {"positive", "negative"} or guider.cfg == 1:
            raise ValueError(
                "cfg_rejection needs one positive prompt, one negative prompt and a cfg other than 1: change these, or turn "
                "cfg_rejection off."
            )

    def evaluates(self, step: int) -> bool:
        """Never: it compares what the sampler's own call predicted."""
        return False

    def measure(self, call: Call) -> Tensor:
        """The difference of this step, (B,); 0 at the first step of a flow model, which sees pure noise."""
        if [prediction.shape for prediction in call.predictions] != [call.x.shape] * 2:
            raise ValueError(
                "cfg_rejection needs one prediction with the prompt and one without at every step, but "
                f"{type(call.guider).__name__} makes others: turn cfg_rejection off."
            )
        conditional, unconditional = (prediction.float() for prediction in call.predictions)
        try:
            level = call.noising(call.sigma)
        except ValueError:
            return torch.zeros(len(call.x))
        difference = cfg_rejection.squared_difference(conditional, unconditional, level.a / level.b)
        return mean_over_elements(difference, call.mask).sqrt()
