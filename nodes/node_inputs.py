"""Inputs and types shared by several nodes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from comfy_api.latest import io
from comfy_execution.validation import validate_node_input
from torch import Tensor

from ..uncertainty import options, thresholds
from ..uncertainty.baselines import laplace
from ..uncertainty.choices import check_choice
from ..uncertainty.maps import UncertaintyMap
from ..uncertainty.quantities import DEFAULT_QUANTITY, QUANTITIES
from ..uncertainty.scores import SCORES
from ..uncertainty.window import Window
from .hook.recording import Recording

CATEGORY = "sampling/uncertainty"
# Where newer front-ends list the nodes that most workflows need.
ESSENTIALS = "Image Tools"

# Axes of latents of sound: batch, channel, time.
FEWEST_AXES = 3
# Axes of a map of videos: step, video, channel, frame, height, width.
VIDEO = 6

Uncertainty = io.Custom("UNCERTAINTY")
Thresholds = io.Custom("UNCERTAINTY_THRESHOLDS")
Options = io.Custom("UNCERTAINTY_OPTIONS")
Laplace = io.Custom("UNCERTAINTY_LAPLACE")
Recorded = io.Custom("UNCERTAINTY_RECORDING")

# For each input, its type and the nodes that output it.
TYPES: dict[str, tuple[type, str]] = {
    "uncertainty": (UncertaintyMap, "an uncertainty sampler, Load Uncertainty Map or the filter"),
    "thresholds": (thresholds.Thresholds, "Calibrate or Load Uncertainty Thresholds"),
    "options": (options.Options, "Uncertainty Options or Uncertainty Baselines"),
    "laplace": (laplace.Laplace, "Fit Laplace"),
    "recording": (Recording, "Record Uncertainty"),
}


def quantity_input() -> io.Combo.Input:
    """The choice of a quantity or of a baseline."""
    return io.Combo.Input(
        "quantity",
        options=list(SCORES),
        default=DEFAULT_QUANTITY,
        tooltip="Which quantity to use. "
        + " ".join(f"{name}: {_as_part(quantity.meaning)}" for name, quantity in QUANTITIES.items())
        + " The others are measured by Uncertainty Baselines.",
    )


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


def percentile_input(default: float, tooltip: str, step: float = 0.5) -> io.Float.Input:
    """``percentile``, 0 to 100, which the arrows in the node change by ``step``."""
    return io.Float.Input("percentile", default=default, min=0.0, max=100.0, step=step, round=0.01, tooltip=tooltip)


def check_inputs(
    node: type[io.ComfyNode],
    window_start: float | None = None,
    window_end: float | None = None,
    checks: Sequence[tuple[Callable[[Any], object], Any]] = (),
    input_types: Mapping[str, Any] | None = None,
    **choices: str | None,
) -> bool | str:
    """Return value for a node's ``validate_inputs``: True, or a message about a wrong value typed into the node.

    ComfyUI 0.3.75 checks the range of numbers, but not the choices of V3 nodes. A value is None if the input is linked.

    Args:
        node: class of the node.
        window_start: checked together with ``window_end``.
        window_end: checked together with ``window_start``.
        checks: pairs of a function that raises ValueError and the value it checks.
        input_types: types of the linked inputs, by id, for nodes with choices: ComfyUI then leaves the check of links to them.
        choices: values of the combo inputs, by id.
    """
    try:
        if input_types:
            _check_links(node, input_types)
        check_choices(node, **choices)
        if window_start is not None and window_end is not None:
            Window(window_start, window_end)
        for check, value in checks:
            if value is not None:
                check(value)
    except ValueError as error:
        return str(error)
    return True


def check_choices(node: type[io.ComfyNode], **choices: str | None) -> None:
    """Check choices that may have come through links; None is not checked.

    Raises:
        ValueError: a value is not among the choices of its input.
    """
    given = {name: value for name, value in choices.items() if value is not None}
    inputs = node.define_schema().inputs if given else []
    allowed = {field.id: field.options for field in inputs if isinstance(field, io.Combo.Input)}
    for name, value in given.items():
        check_choice(name, value, allowed[name])


def _check_links(node: type[io.ComfyNode], input_types: Mapping[str, Any]) -> None:
    """Check the types of links as ComfyUI does, but take choices in every form: as a list, COMBO, text or a wildcard.

    ComfyUI itself takes the lists of other packs' selectors only at nodes of its older kind. The value is checked when it comes.

    Raises:
        ValueError: a link has another type.
    """
    for field in node.define_schema().inputs:
        received, expected = input_types.get(field.id), field.get_io_type()
        if received is None or validate_node_input(received, expected):
            continue
        if isinstance(field, io.Combo.Input) and (not isinstance(received, str) or received in ("STRING", "*")):
            continue
        raise ValueError(
            f"Return type mismatch between linked nodes: {field.id}, received_type({received}) mismatch input_type({expected})"
        )


def check_types(**given: Any) -> None:
    """Reject values of a wrong type, which can arrive through wildcard nodes of other packs.

    Raises:
        ValueError: a value has the wrong type; the message names the input, the type and the nodes to connect.
    """
    for name, value in given.items():
        kind, source = TYPES[name]
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"{name} must come from {source}, got a {type(value).__name__}: connect one of these nodes.")


def check_latents(name: str, samples: Tensor) -> None:
    """Raise ValueError if latents (B, C, *spatial) are empty or not finite."""
    if samples.ndim < FEWEST_AXES or samples.numel() == 0:
        raise ValueError(f"{name} must contain at least one latent, got shape {tuple(samples.shape)}.")
    bad = int((~samples.isfinite()).sum())
    if bad:
        raise ValueError(f"{name} must be finite, but {bad} of {samples.numel()} elements are not: check the node that made it.")


def pictures_each(name: str, pictures: int, uncertainty: UncertaintyMap) -> int:
    """Number of pictures per image of the map: 1 for images; for videos, the number of decoded frames of each video.

    A map of another part, such as the sound of a video, does not tell how many frames the video has.

    Raises:
        ValueError: the number of pictures does not match this map.
    """
    each, rest = divmod(pictures, uncertainty.images)
    shape = uncertainty.shape
    fits = each >= shape[3] if len(shape) == VIDEO else each == 1
    if rest == 0 and each and (fits or uncertainty.settings.get("part")):
        return each
    expected = f"the map has {uncertainty.images}"
    if len(shape) == VIDEO:
        expected += f" videos of {shape[3]} latent frames, each of which needs the same number of frames, at least {shape[3]}"
    raise ValueError(f"{name} has {entries(pictures)}, but {expected}: connect the {name} of this map.")


def check_same_part(images: Tensor | None, uncertainty: UncertaintyMap) -> None:
    """Raise ValueError for decoded pictures beside the map of a part that they do not show."""
    if images is not None and uncertainty.settings.get("part"):
        raise ValueError(
            f"images must not be connected, because they show the first part, such as the video, and this map is of part "
            f"{uncertainty.settings['part']}, such as its sound: disconnect images."
        )


def entries(count: int) -> str:
    """A number of entries, in words."""
    return "1 entry" if count == 1 else f"{count} entries"
