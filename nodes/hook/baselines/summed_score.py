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
    """A baseline that sums the maps of ``measure`` over steps, and their ``contribution`` to a score.

    Args:
        settings: settings of the run.
    """

    name: str

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        self.steps = range(0)
        self.added: dict[int, list[Tensor]] = {}
        self.sum: Tensor | None = None

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Select the steps of the window."""
        self.steps = window

    def evaluates(self, step: int) -> bool:
        """Whether the step is one of the sum, each of which may evaluate the model."""
        return step in self.steps

    def observe(self, call: Call) -> None:
        """Add the step of this call unless it has been added before."""
        if call.step in self.steps and call.step not in self.added:
            measured, _ = or_one_by_one(lambda passes: self.measure(replace(call, probes_per_call=passes)), call.probes_per_call)
            measured = measured.float()
            parts = zip(call.parts.split(measured), call.parts.masks(call.mask), strict=True)
            self.added[call.step] = [self.contribution(part, mask).cpu() for part, mask in parts]
            if call.mask is not None:
                measured = torch.where(call.mask > 0, measured, 0)
            self.sum = measured if self.sum is None else self.sum + measured

    def measure(self, call: Call) -> Tensor:
        """The map of one step, packed like the call's latents."""
        raise NotImplementedError

    def contribution(self, measured: Tensor, mask: Tensor | None) -> Tensor:
        """What one step's map of one part of the latents, (B, C, *spatial), adds to its score, (B,)."""
        return mean_over_elements(measured, mask)

    def scores(self) -> list[Tensor]:
        """The sum of each part of the latents, (B,); [] if no step has been added."""
        return [torch.stack(steps).sum(0) for steps in zip(*self.added.values(), strict=True)]

    def map(self) -> Tensor | None:
        """The summed map, packed like the latents; None if no step has been added."""
        return self.sum
