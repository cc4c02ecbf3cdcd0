"""Sparsification curves as a picture: the mean over images, the oracle, and no sorting."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..metrics.sparsification import Sparsification
from .canvas import FAINT, FIELD, GRID, TEXT, Axis, Canvas, ticks

WIDTH, HEIGHT = 1024, 768
LEFT, RIGHT, TOP, BOTTOM = 130, 40, 130, 110
CURVE, ORACLE = "#ffb454", "#5ccfe6"


def plot(results: Sequence[Sparsification], title: str) -> Tensor:
    """The picture, (height, width, 3), 0 to 1."""
    curve, oracle = (np.mean([getattr(each, name) for each in results], 0) for name in ("curve", "oracle_curve"))
    ause, aurg = (float(np.mean([getattr(each, name) for each in results])) for name in ("ause", "aurg"))
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.text(LEFT, 52, title, 36)
    many = "1 image" if len(results) == 1 else f"mean of {len(results)} images"
    canvas.text(LEFT, 98, f"{many}: AUSE {ause:.3g} (0 is perfect), AURG {aurg:.3g} (0 is chance)", 25, FAINT)
    right, lower = WIDTH - RIGHT, HEIGHT - BOTTOM
    canvas.area([(LEFT, TOP), (right, TOP), (right, lower), (LEFT, lower)], FIELD)
    columns = Axis(0, 100, LEFT, right)
    rows = Axis(0, 1.08 * float(max(curve.max(), oracle.max())) or 1.0, lower, TOP)
    for tick in ticks(rows.low, rows.high):
        canvas.line([(LEFT, rows(tick)), (right, rows(tick))], GRID, 1.5)
        canvas.text(LEFT - 14, rows(tick), f"{tick:.4g}", 23, FAINT, "rm")
    for tick in ticks(0, 100):
        canvas.text(columns(tick), lower + 34, f"{tick:g}", 23, FAINT, "ms")
    canvas.text((LEFT + right) / 2, HEIGHT - 28, "per cent of the pixels left out, most uncertain first", 25, TEXT, "ms")
    canvas.text(LEFT + 20, TOP + 34, "error of the rest (root mean square)", 23, FAINT)
    canvas.line([(LEFT, rows(float(curve[0]))), (right, rows(float(curve[0])))], FAINT, 2)
    canvas.text(right - 12, rows(float(curve[0])) - 10, "no sorting", 23, FAINT, "rs")
    places = np.linspace(0, 100, len(curve))
    for values, colour in ((oracle, ORACLE), (curve, CURVE)):
        canvas.line([(columns(float(x)), rows(float(y))) for x, y in zip(places, values, strict=True)], colour, 4)
    canvas.text(LEFT + 20, lower - 56, "by the true error", 23, ORACLE)
    canvas.text(LEFT + 20, lower - 22, "by uncertainty", 23, CURVE)
    return canvas.finished()
