"""On a graphics card, a recorded step makes the processor wait once for its noise level and once for its map."""

from typing import Any

import pytest
import torch

from host_reads import host_reads
from real_models import Loaded, Sampling


def reads(loaded: Loaded, sampling: Sampling, window: tuple[float, float], **changed: Any) -> tuple[int, dict[str, int]]:
    """Number of recorded steps, and how often each line read a value on the card."""
    from comfy.patcher_extension import WrappersMP

    with host_reads() as found:

        def follow(executor: Any, x: torch.Tensor, timestep: torch.Tensor, *rest: Any) -> torch.Tensor:
            found.follow(x)
            found.follow(timestep)
            return executor(x, timestep, *rest)

        model = loaded.model.clone()
        model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "follow", follow)
        _, measured, _ = sampling.node(loaded, model=model, window_start=window[0], window_end=window[1], **changed)
    # Its copies wait only where ComfyUI does not trust the device, such as here.
    lines = {line: count for line, count in found.lines.items() if not line.startswith("nodes/hook/transfer.py")}
    return len(measured.steps), lines


@pytest.mark.parametrize(("strength", "most"), [(0.0, 1), (1.0, 2)])
def test_a_recorded_step_waits_for_its_map_alone(
    strength: float, most: int, loaded_models: dict[str, Loaded], sampling: Sampling
) -> None:
    loaded = loaded_models["sd3"]
    few, fewer = reads(loaded, sampling, (0.4, 0.6), strength=strength)
    many, more = reads(loaded, sampling, (0.2, 1.0), strength=strength)
    assert few < many
    a_step = {line: (count - fewer.get(line, 0)) / (many - few) for line, count in more.items()}
    assert sum(a_step.values()) == most, a_step
    assert "uncertainty/recorder.py" in {line.partition(":")[0] for line, count in a_step.items() if count}


def test_a_step_that_is_not_recorded_waits_once(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    loaded = loaded_models["sd3"]
    (_, five), (_, nine) = (reads(loaded, sampling, (0.41, 0.5), steps=steps) for steps in (5, 9))
    grown = {line: count - five.get(line, 0) for line, count in nine.items()}
    assert sum(grown.values()) == 4, grown
