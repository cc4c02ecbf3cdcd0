"""Uncertainty per step as a picture."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from PIL import ImageFont
from torch import Tensor

from uncertainty import PROBED, UncertaintyMap
from uncertainty.images import canvas, steps_plot


def measured(values: Tensor, steps: Sequence[int], total: int, sigma: float = 14.6146) -> UncertaintyMap:
    """A map whose images (S, B) have these uncertainties in every quantity."""
    return UncertaintyMap(
        quantities=dict.fromkeys(PROBED, values[..., None, None, None].expand(*values.shape, 3, 4, 4)),
        standard_errors={name: torch.zeros(values.shape) for name in PROBED},
        steps=tuple(steps),
        total_steps=total,
        sigmas=torch.linspace(sigma, 0.0292, total)[list(steps)],
    )


def coloured(picture: Tensor, quantity: str) -> Tensor:
    """Where the pure colour of a panel's line is, (height, width)."""
    colour = PROBED[quantity].color
    wanted = torch.tensor([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return (picture - wanted).abs().max(-1).values < 0.02


def panel(number: int) -> slice:
    """The rows of a panel's field."""
    top = steps_plot.HEAD + number * steps_plot.PANEL
    return slice(top + steps_plot.TITLE, top + steps_plot.PANEL - steps_plot.GAP)


def test_mean_and_spread_are_over_images_at_each_step() -> None:
    found = measured(torch.tensor([[1.0, 3.0], [4.0, 4.0]]), (7, 8), 10)
    mean, spread = steps_plot.per_step(found, "score_variance")
    torch.testing.assert_close(mean, torch.tensor([2.0, 4.0]))
    torch.testing.assert_close(spread, torch.tensor([2**0.5, 0.0]))
    assert steps_plot.per_step(found.select([0]), "score_variance")[1].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.3, 9.9, [2, 4, 6, 8]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (-0.01, 0.094, [0, 0.025, 0.05, 0.075]),
        (0.00098, 0.00123, [0.001, 0.00105, 0.0011, 0.00115, 0.0012]),
        (1e6, 1.5e6, [1e6, 1.1e6, 1.2e6, 1.3e6, 1.4e6, 1.5e6]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert canvas.ticks(low, high) == pytest.approx(expected)


def test_every_panel_draws_its_line() -> None:
    rising = torch.linspace(0, 1, 8)[:, None].repeat(1, 3)
    found = measured(rising, range(8), 8)
    picture = steps_plot.plot(found)
    assert picture.shape == (steps_plot.HEAD + len(PROBED) * steps_plot.PANEL + steps_plot.FOOT, steps_plot.WIDTH, 3)
    assert picture.min() >= 0 and picture.max() <= 1
    for number, quantity in enumerate(reversed(PROBED)):
        line = coloured(picture, quantity)[panel(number)].nonzero().float()
        left, right = (
            line[(line[:, 1] - x).abs() < 3, 0].mean() for x in (steps_plot.LEFT + 44, steps_plot.WIDTH - steps_plot.RIGHT - 44)
        )
        height = panel(number).stop - panel(number).start
        # A margin of 0.12 at both ends of a range of 1.
        assert abs(left - height * (1 - 0.12 / 1.24)) < 3 and abs(right - height * 0.12 / 1.24) < 3


def test_the_band_is_one_standard_deviation_wide() -> None:
    found = measured(torch.tensor([[1.0, 3.0]]).repeat(5, 1), range(5), 5)
    column = steps_plot.plot(found)[panel(1), steps_plot.WIDTH // 2 + 60]
    ground = torch.tensor([int(canvas.FIELD[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    # Grid lines are grey, the band is orange.
    band = (column[:, 0] - column[:, 2] > ground[0] - ground[2] + 0.1).sum()
    assert abs(band - len(column) / 1.24) < 3


@pytest.mark.parametrize(("steps", "images"), [(1, 1), (1, 4), (2, 1), (60, 2)])
def test_every_number_of_steps_and_images_is_drawn(steps: int, images: int) -> None:
    picture = steps_plot.plot(measured(torch.rand(steps, images) - 0.5, range(steps), 70))
    assert all(coloured(picture, quantity)[panel(number)].sum() > 20 for number, quantity in enumerate(reversed(PROBED)))


def test_flat_zero_and_broken_values_are_drawn() -> None:
    values = torch.zeros(3, 2)
    assert coloured(steps_plot.plot(measured(values, range(3), 3)), "score_variance")[panel(len(PROBED) - 1)].any()
    values[1, 0] = torch.nan
    assert coloured(steps_plot.plot(measured(values, range(3), 3)), "score_variance")[panel(len(PROBED) - 1)].any()
    nothing = steps_plot.plot(measured(torch.full((3, 2), torch.inf), range(3), 3))
    assert not coloured(nothing, "score_variance")[panel(len(PROBED) - 1)].any()


@pytest.mark.parametrize(
    ("steps", "total", "size"),
    [
        ((45, 46, 47, 48), 50, 0.012),
        (range(50), 50, 1.0),
        ((999,), 1000, -3e-7),
        (range(0, 1000, 7), 1000, 123456.0),
        ((1, 2, 48), 50, 1.0),
    ],
)
def test_no_text_lies_on_another_or_is_cut(
    monkeypatch: pytest.MonkeyPatch, steps: Sequence[int], total: int, size: float
) -> None:
    boxes: list[tuple[float, float, float, float]] = []

    def measure(canvas: Any, x: float, y: float, text: str, size: int, colour: str = "", anchor: str = "ls") -> None:
        left, top, right, bottom = ImageFont.load_default(size).getbbox(text, anchor=anchor)
        boxes.append((x + left, y + top, x + right, y + bottom))

    monkeypatch.setattr(canvas.Canvas, "text", measure)
    values = size * (1 + torch.rand(len(steps), 3, generator=torch.Generator().manual_seed(0)))
    height, width, _ = steps_plot.plot(measured(values, steps, total, 1234.5)).shape
    assert len(boxes) > 15
    assert all(min(left, top) >= 0 and right <= width and bottom <= height for left, top, right, bottom in boxes)
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]
