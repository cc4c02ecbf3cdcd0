"""Which sampling steps count, and which step a model call belongs to."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Window:
    """Steps i of n with ``start ≤ i/n < end``; at least one.

    Raises:
        ValueError: start or end outside 0 to 1, or start not below end.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        """Check the bounds."""
        for name, value in (("window_start", self.start), ("window_end", self.end)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {value}.")
        if self.start >= self.end:
            raise ValueError(f"window_start must be below window_end, got {self.start} and {self.end}.")

    def steps(self, total: int) -> range:
        """The steps of a schedule of ``total`` steps that lie in the window."""
        inside = self.among(range(total), total)
        if inside:
            return range(inside[0], inside[-1] + 1)
        nearest = min(int(self.start * total), total - 1)
        return range(nearest, nearest + 1)

    def among(self, steps: Iterable[int], total: int) -> list[int]:
        """Those of the given steps of a schedule that lie in the window: perhaps none."""
        return [step for step in steps if self.start <= step / total < self.end]


def step_of(sigma: float, schedule: Tensor) -> int:
    """Zero-based step a model call at ``sigma`` belongs to: the last one that starts at or above it.

    Noise levels decide alone: the corrector call with which Heun's method ends a step counts to the next one, whose level it has.

    Args:
        sigma: noise level of the call.
        schedule: descending noise levels of the run, shape (steps + 1,).
    """
    # A sampler may hand the level back through a few float32 operations.
    reached = int((schedule[:-1].double() * (1 + 1e-5) >= sigma).sum())
    return max(reached - 1, 0)
