"""Uncertainty per step as a picture: mean and spread over images, one panel per quantity (the paper's Fig. 3)."""

import math

import torch
from PIL import ImageFont
from torch import Tensor

from ..maps import UncertaintyMap
from ..quantities import QUANTITIES, Quantity
from .canvas import FAINT, FIELD, GRID, Axis, Canvas, mixed, ticks

WIDTH, HEAD, PANEL, FOOT = 1024, 112, 340, 112
LEFT, RIGHT, TITLE, GAP = 144, 40, 58, 24  # around the field of a panel: ticks, margin, title above, space below


def per_step(measured: UncertaintyMap, quantity: str) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over images at each recorded step, both (S,). The deviation of a single image is 0."""
    values = torch.stack([measured.score(quantity, [step]).value for step in measured.steps])
    return values.mean(1), values.std(1, correction=min(1, measured.images - 1))


def plot(measured: UncertaintyMap) -> Tensor:
    """The picture, (height, width, 3), 0 to 1. Steps with non-finite values are left out.

    Raises:
        ValueError: no step was recorded.
    """
    if not measured.steps:
        raise ValueError("the map has no recorded steps to plot, because samples was 0: set samples to 5.")
    shown = [quantity for name, quantity in QUANTITIES.items() if name in measured.quantities][::-1]
    canvas = Canvas(WIDTH, HEAD + len(shown) * PANEL + FOOT)
    images = "1 image" if measured.images == 1 else f"mean of {measured.images} images, band: ± one standard deviation"
    canvas.text(LEFT, 46, "Uncertainty per step", 40)
    canvas.text(LEFT, 90, images, 25, FAINT)
    columns = Axis(min(measured.steps), max(measured.steps), LEFT + 44, WIDTH - RIGHT - 44)
    for number, quantity in enumerate(shown):
        _panel(canvas, HEAD + number * PANEL, columns, measured, quantity)
    _foot(canvas, HEAD + len(shown) * PANEL, columns, measured)
    return canvas.finished()


def _panel(canvas: Canvas, top: float, columns: Axis, measured: UncertaintyMap, quantity: Quantity) -> None:
    colour, end = quantity.color, "high means sure" if quantity.high_is_sure else "high means unsure"
    upper, lower = top + TITLE, top + PANEL - GAP
    canvas.text(LEFT, upper - 17, quantity.name, 28, colour)
    canvas.text(WIDTH - RIGHT, upper - 17, f"{quantity.label}: {end}", 22, FAINT, "rs")
    canvas.area([(LEFT, upper), (WIDTH - RIGHT, upper), (WIDTH - RIGHT, lower), (LEFT, lower)], FIELD)
    mean, spread = per_step(measured, quantity.name)
    points = [p for p in zip(measured.steps, mean.tolist(), spread.tolist(), strict=True) if math.isfinite(p[1] + p[2])]
    if not points:
        canvas.text((LEFT + WIDTH - RIGHT) / 2, (upper + lower) / 2, "no step has a finite value", 25, FAINT, "mm")
        return
    low, high = min(m - s for _, m, s in points), max(m + s for _, m, s in points)
    margin = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    rows = Axis(low - margin, high + margin, lower, upper)
    for tick in ticks(rows.low, rows.high):
        canvas.line([(LEFT, rows(tick)), (WIDTH - RIGHT, rows(tick))], GRID, 1.5)
        canvas.text(LEFT - 14, rows(tick), f"{tick:.6g}", 23, FAINT, "rm")
    above = [(columns(step), rows(m + s)) for step, m, s in points]
    below = [(columns(step), rows(m - s)) for step, m, s in points]
    line = [(columns(step), rows(m)) for step, m, _ in points]
    if len(points) > 1:
        canvas.area(above + below[::-1], mixed(colour, FIELD, 0.3))
        canvas.line(line, colour, 4)
    else:
        canvas.line([*above, *below], mixed(colour, FIELD, 0.5), 8)
    for x, y in line:
        canvas.dot(x, y, min(8, max(3, 150 / len(points))), colour)


def _foot(canvas: Canvas, top: float, columns: Axis, measured: UncertaintyMap) -> None:
    """Step numbers and noise levels, as many as fit without overlap."""
    labels = [(step, f"{step}", f"{sigma:.3g}") for step, sigma in zip(measured.steps, measured.sigmas.tolist(), strict=True)]
    font = ImageFont.load_default(25)
    widest = max(font.getlength(text) for _, *texts in labels for text in texts) + 22
    last = -widest
    for step, number, level in labels:
        if columns(step) - last < widest:
            continue
        last = columns(step)
        canvas.line([(last, top - GAP), (last, top - GAP + 9)], FAINT, 2)
        canvas.text(last, top + 16, number, 25, anchor="ms")
        canvas.text(last, top + 52, level, 23, FAINT, "ms")
    canvas.text(LEFT - 14, top + 16, "step", 23, anchor="rs")
    canvas.text(LEFT - 14, top + 52, "noise level", 23, FAINT, "rs")
    canvas.text(WIDTH - RIGHT, top + 92, f"{len(labels)} of {measured.total_steps} steps recorded", 22, FAINT, "rs")
