"""Which step of the schedule each model call of a sampler belongs to."""

import torch
from torch import Tensor

from ...uncertainty.window import TOLERANCE, step_of


class StepCount:
    """Follows a sampler's own count of steps, which it reports through its callback.

    A call at a noise level of the schedule belongs to the step that starts there. Between two levels, a falling schedule decides
    (see ``step_of``), unless the sampler calls the model once a step: then the call belongs to the next step it will report, even
    if another pack changed the noise level on the way.

    Args:
        schedule: noise levels of the run, shape (steps + 1,).

    Attributes:
        total: number of steps.
        calls: number of model calls so far.
        silent: steps that were reported although no call arrived.
    """

    def __init__(self, schedule: Tensor) -> None:
        self.schedule = schedule
        self.total = max(len(schedule) - 1, 0)
        self.calls = 0
        self.silent: set[int] = set()
        self._falls = bool((schedule.diff() <= 0).all())
        self._done = 0
        self._since = 0
        self._several = False

    def report(self, step: int) -> None:
        """The sampler has finished a step, or at least its first call."""
        if self._since == 0:
            self.silent.add(step)
        # Samplers of higher order report a step after its first call. Its other calls arrive before the next report.
        self._several = self._several or (self._done > 0 and self._since > 1)
        self._done, self._since = step + 1, 0

    def step(self, timestep: Tensor) -> int:
        """The zero-based step of the next model call, at noise levels (B,).

        Raises:
            ValueError: it cannot be told.
        """
        first, sigma = self._since == 0, float(timestep.max())
        self.calls += 1
        self._since += 1
        # Latents in half precision get rounded noise levels.
        tolerance = max(TOLERANCE, torch.finfo(timestep.dtype).eps / 2)
        near = ((self.schedule[:-1] - sigma).abs() <= tolerance * sigma).nonzero().flatten().tolist()
        if self._done in near:
            return self._done
        # After the first report, the call may also be the second one of the first step.
        counted = first and not near and not self._several and self._done != 1 and self._done < self.total
        if counted:
            return self._done
        if self._falls:
            return step_of(sigma, self.schedule, tolerance)
        if near:
            return int(min(near, key=lambda step: abs(step - self._done)))
        if self._done == 0:
            raise ValueError(
                f"the model call at sigma {sigma:.5g} belongs to no step, because sigmas do not fall from step to step and the "
                "sampler does not report its steps: use falling sigmas, or another sampler."
            )
        return min(self._done, self.total) - 1
