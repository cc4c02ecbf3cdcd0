"""Inputs and types that several nodes share."""

from comfy_api.latest import io

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


def window_error(window_start: float | None, window_end: float | None) -> str | None:
    """What is wrong with a window typed into a node, if anything; None too where a value arrives by a link."""
    if window_start is None or window_end is None:
        return None
    try:
        Window(window_start, window_end)
    except ValueError as error:
        return str(error)
    return None
