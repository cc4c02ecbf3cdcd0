"""A model call as it passed by, which can be kept until the image is finished."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...uncertainty.room import Room
from .model_call import BaselineRun
from .transfer import kept


@dataclass(frozen=True)
class SeenCall:
    """One call of the model by the sampler.

    Attributes:
        executor: what called the model; ``original`` is the guider's own prediction, without other wrappers.
        x: noisy latents, (B, C, *spatial).
        timestep: noise levels, (B,), in main memory.
        options: model options for probes.
        seed: the seed that the guider received.
        step: zero-based step of the schedule.
        number: number of earlier measured calls in this step.
        denoised: denoised image from the model, (B, C, *spatial).
        predictions: the denoised images that CFG combined.
        measures: whether the map is measured at this call.
        baselines: the baselines that observe it.
        device: device of the sampler.
    """

    executor: Any
    x: Tensor
    timestep: Tensor
    options: dict
    seed: int | None
    step: int
    number: int
    denoised: Tensor
    predictions: Sequence[Tensor]
    measures: bool
    baselines: Sequence[BaselineRun]
    device: torch.device

    def copied(self, baselines: Sequence[BaselineRun], room: Room) -> "SeenCall":
        """A copy where there is room, for these baselines, which is safe from whatever the sampler does next.

        Without the predictions that CFG combined, which none of them needs. What is kept must be sent back before it is read.
        """
        return replace(
            self,
            x=kept(self.x, room),
            denoised=kept(self.denoised, room),
            predictions=(),
            baselines=baselines,
        )
