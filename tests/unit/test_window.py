"""Which steps count, and which step a model call belongs to."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertainty.window import Window, step_of


def test_the_papers_window() -> None:
    assert list(Window(0.90, 0.98).steps(50)) == [45, 46, 47, 48]


@given(start=st.floats(0, 1), end=st.floats(0, 1), total=st.integers(1, 300))
def test_a_window_is_its_definition_and_never_empty(start: float, end: float, total: int) -> None:
    if start >= end:
        with pytest.raises(ValueError, match="window_start must be below window_end"):
            Window(start, end)
        return
    steps = list(Window(start, end).steps(total))
    inside = [i for i in range(total) if start <= i / total < end]
    assert steps == inside or (not inside and len(steps) == 1 and 0 <= steps[0] < total)


@pytest.mark.parametrize("total", [1, 2, 3, 20])
def test_short_schedules_still_have_a_step(total: int) -> None:
    assert list(Window(0.90, 0.98).steps(total))[-1] == total - 1 if total < 20 else 19


@pytest.mark.parametrize(("total", "step"), [(1, 0), (2, 1), (3, 1), (4, 1), (6, 2), (8, 2), (9, 3), (20, 6), (50, 15)])
def test_a_narrow_window_is_the_nearest_step(total: int, step: int) -> None:
    assert list(Window(0.30, 0.32).steps(total)) == [step]


@pytest.mark.parametrize(("start", "end", "name"), [(-0.1, 0.5, "window_start"), (0.5, 1.1, "window_end")])
def test_bounds_are_named(start: float, end: float, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be between 0 and 1"):
        Window(start, end)


def test_calls_belong_to_the_last_step_at_or_above_them() -> None:
    schedule = torch.tensor([14.6, 5.0, 1.0, 0.1, 0.0])
    assert [step_of(s, schedule) for s in (14.6, 9.0, 5.0, 4.99, 1.0, 0.1, 0.05, 20.0)] == [0, 0, 1, 1, 2, 3, 3, 0]
    # A sampler that computes exp(-log(1/σ)) lands a hair below.
    assert step_of(5.0 * (1 - 1e-7), schedule) == 1
