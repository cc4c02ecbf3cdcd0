"""What is known of a sampling from its guider, sampler and schedule."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...uncertainty.plain_numbers import plain


def describe(guider: Any, sampler: Any, sigmas: Tensor) -> dict[str, Any]:
    """The sampling settings as JSON-able values, which are stored in the map."""
    function = getattr(getattr(sampler, "sampler_function", None), "__name__", type(sampler).__name__)
    return {
        "steps": max(len(sigmas) - 1, 0),
        "sampler": function.removeprefix("sample_").removesuffix("_function"),
        "sampler_options": _plain(getattr(sampler, "extra_options", {})),
        "guider": type(guider).__name__,
        "guider_options": _plain(vars(guider)),
        "sigmas": [float(f"{sigma:.5g}") for sigma in sigmas.tolist()],  # the last bits depend on the device
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that JSON can hold; infinities, which it cannot hold, become text."""
    numbers = {name: plain(value) for name, value in values.items()}
    held = {name: value for name, value in numbers.items() if isinstance(value, bool | int | float | str)}
    return {name: str(value) if isinstance(value, float) and not math.isfinite(value) else value for name, value in held.items()}
