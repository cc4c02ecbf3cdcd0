"""Inputs and types that several nodes share."""

from collections.abc import Callable, Sequence
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..uncertainty import options, thresholds
from ..uncertainty.baselines import laplace
from ..uncertainty.choices import check_choice
from ..uncertainty.maps import UncertaintyMap
from ..uncertainty.quantities import DEFAULT_QUANTITY, QUANTITIES
from ..uncertainty.scores import SCORES
from ..uncertainty.window import Window

CATEGORY = "sampling/uncertainty"

# Of latents: batch, channels, and what sound has, time.
FEWEST_AXES = 3
# Axes of a map of videos: step, video, channel, frame, height, width.
VIDEO = 6

Uncertainty = io.Custom("UNCERTAINTY")
Thresholds = io.Custom("UNCERTAINTY_THRESHOLDS")
Options = io.Custom("UNCERTAINTY_OPTIONS")
Laplace = io.Custom("UNCERTAINTY_LAPLACE")

# By input, what it takes and which nodes give it.
TYPES: dict[str, tuple[type, str]] = {
    "uncertainty": (UncertaintyMap, "an uncertainty sampler, Load Uncertainty Map or the filter"),
    "thresholds": (thresholds.Thresholds, "Calibrate or Load Uncertainty Thresholds"),
    "options": (options.Options, "Uncertainty Options or Uncertainty Baselines"),
    "laplace": (laplace.Laplace, "Fit Laplace"),
}


def quantity_input() -> io.Combo.Input:
    """Which of the quantities to look at."""
    return io.Combo.Input(
        "quantity",
        options=list(QUANTITIES),
        default=DEFAULT_QUANTITY,
        tooltip="Which quantity to use. "
        + " ".join(f"{name}: {_as_part(quantity.meaning)}" for name, quantity in QUANTITIES.items()),
    )


def score_input() -> io.Combo.Input:
    """Which score to sort images by: one of the quantities, or a baseline."""
    quantities = quantity_input()
    quantities.options = list(SCORES)
    quantities.tooltip += " The other scores are measured by Uncertainty Baselines."
    return quantities


def _as_part(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def window_inputs(start: float, end: float, meaning: str) -> list[io.Float.Input]:
    """``window_start`` and ``window_end``, fractions of the schedule."""
    limits = {"min": 0.0, "max": 1.0, "step": 0.01, "round": 0.001}
    return [
        io.Float.Input(
            "window_start", default=start, **limits, tooltip=f"Where the window starts: 0 is the first step. {meaning}"
        ),
        io.Float.Input(
            "window_end", default=end, **limits, tooltip=f"Where the window ends: the step there is excluded. {meaning}"
        ),
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
    try:
        inputs = node.define_schema().inputs if choices else []
        allowed = {field.id: field.options for field in inputs if isinstance(field, io.Combo.Input)}
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


def check_types(**given: Any) -> None:
    """Refuse values of another type than their input's, which links of other packs' wildcard nodes let through.

    Raises:
        ValueError: naming the input, what came, and where the right thing comes from.
    """
    for name, value in given.items():
        kind, source = TYPES[name]
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"{name} must come from {source}, got a {type(value).__name__}: connect that.")


def check_latents(name: str, samples: Tensor) -> None:
    """Refuse latents (B, C, *spatial) of which there is none, or that are not finite."""
    if samples.ndim < FEWEST_AXES or samples.numel() == 0:
        raise ValueError(f"{name} must hold at least one latent, got the shape {tuple(samples.shape)}.")
    bad = int((~samples.isfinite()).sum())
    if bad:
        raise ValueError(f"{name} must be finite: {bad} of {samples.numel()} elements are not. Look at what made it.")


def pictures_each(name: str, pictures: int, uncertainty: UncertaintyMap) -> int:
    """How many of the pictures belong to each image of the map: one, or all decoded frames of a video, video after video.

    Raises:
        ValueError: they cannot be pictures of this map.
    """
    each, rest = divmod(pictures, uncertainty.images)
    shape = uncertainty.shape
    if rest == 0 and (each >= shape[3] if len(shape) == VIDEO else each == 1):
        return each
    expected = f"the map {uncertainty.images}"
    if len(shape) == VIDEO:
        expected += f" videos of {shape[3]} latent frames, so as many decoded frames of each and at least {shape[3]} are expected"
    raise ValueError(f"{name} holds {pictures}, {expected}: connect the {name} of this map.")
