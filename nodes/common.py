"""Inputs and types that several nodes share."""

from collections.abc import Callable, Sequence
from typing import Any

from comfy_api.latest import io

from ..uncertainty.choices import check_choice
from ..uncertainty.estimators import QUANTITIES
from ..uncertainty.maps import DEFAULT_QUANTITY
from ..uncertainty.window import Window

CATEGORY = "sampling/uncertainty"

Uncertainty = io.Custom("UNCERTAINTY")
Thresholds = io.Custom("UNCERTAINTY_THRESHOLDS")
Options = io.Custom("UNCERTAINTY_OPTIONS")


def quantity_input() -> io.Combo.Input:
    """Which of the three quantities to look at."""
    return io.Combo.Input(
        "quantity",
        options=list(QUANTITIES),
        default=DEFAULT_QUANTITY,
        tooltip=(
            "denoised_variance: how much the finished image still changes when noise is added and removed again; high means "
            "unsure. posterior_variance: how many different images fit the current noisy one. score_variance: the paper's "
            "map, high where the model is certain."
        ),
    )


def window_inputs(start: float, end: float, meaning: str) -> list[io.Float.Input]:
    """``window_start`` and ``window_end``, fractions of the schedule."""
    limits = {"min": 0.0, "max": 1.0, "step": 0.01, "round": 0.001}
    return [
        io.Float.Input("window_start", default=start, **limits, tooltip=f"Where the window starts, 0 = first step. {meaning}"),
        io.Float.Input("window_end", default=end, **limits, tooltip=f"Where the window ends (this step is out). {meaning}"),
    ]


def check_inputs(
    node: type[io.ComfyNode],
    window_start: float | None = None,
    window_end: float | None = None,
    checks: Sequence[tuple[Callable[[Any], object], Any]] = (),
    **choices: str | None,
) -> bool | str:
    """What a node's ``validate_inputs`` answers: True, or what is wrong with a value typed into it.

    ComfyUI 0.3.75 checks the range of numbers, but not the choices of V3 nodes. None stands for a value that comes by a link.

    Args:
        node: the class.
        window_start: checked together with ``window_end``.
        window_end: likewise.
        checks: functions that raise ValueError, each with the value it judges.
        choices: values of the combo inputs, by id.
    """
    allowed = {field.id: field.options for field in node.define_schema().inputs if isinstance(field, io.Combo.Input)}
    try:
        for name, value in choices.items():
            if value is not None:
                check_choice(name, value, allowed[name])
        if window_start is not None and window_end is not None:
            Window(window_start, window_end)
        for check, value in checks:
            if value is not None:
                check(value)
    except ValueError as error:
        return str(error)
    return True
