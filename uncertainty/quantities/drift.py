"""Drift: how much the denoised image still changes from step to step in the last third of a run. No evaluation is added.

D = Σ_t (x̂0_t - x̂0_{t-1})²,  per element, over the steps t of the last third
"""

import torch
from torch import Tensor

from ..window import Window
from .quantity import Quantity

PART = Window(2 / 3, 1.0)

QUANTITY = Quantity(
    name="drift",
    label="Late change",
    meaning="How much the image still changed in the last third of the steps. High means unsure. Costs nothing.",
    high_is_sure=False,
    color="#f28779",
)


class Drift:
    """Adds up the drift of one run.

    Args:
        total: number of steps of the schedule.
    """

    def __init__(self, total: int) -> None:
        self.steps = PART.steps(total)
        self.map: Tensor | None = None
        self._before: Tensor | None = None
        self._last = -1

    def see(self, step: int, denoised: Tensor) -> None:
        """Take the denoised image (B, C, *spatial) of a step; only the first call of each step counts."""
        if step <= self._last or step + 1 < self.steps.start:
            return
        self._last = step
        now = denoised.detach().to(torch.float32, copy=True)
        if step in self.steps and self._before is not None:
            moved = (now - self._before).square_()
            self.map = moved if self.map is None else self.map.add_(moved)
        self._before = now
