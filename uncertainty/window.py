"""Which sampling steps count, and which step a model call belongs to."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from .plain_numbers import real


@dataclass(frozen=True)
class Window:
    """The steps i of n with ``start ≤ i/n < end``, but at least one.

    Raises:
        ValueError: start or end is outside 0 to 1, or start is not below end.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        """Check the bounds."""
        for field, name in (("start", "window_start"), ("end", "window_end")):
            value = real(name, getattr(self, field))
            object.__setattr__(self, field, value)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {value}.")
        if self.start >= self.end:
            raise ValueError(f"window_start must be below window_end, got {self.start} and {self.end}.")

    def steps(self, total: int) -> range:
        """The steps inside the window, in a schedule of ``total`` steps; the nearest step if there are none."""
        if total < 1:
            return range(0)
        inside = self.among(range(total), total)
        if inside:
            return range(inside[0], inside[-1] + 1)
        nearest = min(round(self.start * total), total - 1)
        return range(nearest, nearest + 1)

    def among(self, steps: Iterable[int], total: int) -> list[int]:
        """The given steps that are inside the window, in a schedule of ``total`` steps; may be empty."""
        return [step for step in steps if self.start <= step / total < self.end]


# Covers samplers that compute the noise level with a few float32 operations.
TOLERANCE = 1e-5


def step_of(sigma: float, schedule: Tensor, tolerance: float = TOLERANCE) -> int:
    """Zero-based step of a model call at ``sigma``: the last step that starts at or above this noise level.

    Only the noise level counts: the corrector call at the end of a step of Heun's method belongs to the next step.

    Args:
        sigma: noise level of the call.
        schedule: descending noise levels of the run, shape (steps + 1,).
        tolerance: relative error of the noise level.
    """
    reached = int((schedule[:-1].double() * (1 + tolerance) >= sigma).sum())
    return max(reached - 1, 0)
