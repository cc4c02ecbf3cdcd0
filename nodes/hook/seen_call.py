"""A model call as it passed by, which can be kept until the image is finished."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .model_call import Baseline


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
    baselines: Sequence[Baseline]
    device: torch.device

    def copied(self, baselines: Sequence[Baseline]) -> "SeenCall":
        """A copy in main memory for these baselines, which is safe from whatever the sampler does next.

        From a graphics card it may still be on its way: only work that is queued there, such as copying it back, may read it.
        """

        def copy(tensor: Tensor) -> Tensor:
            there = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
            return there.copy_(tensor.detach(), non_blocking=True)

        return replace(
            self,
            x=copy(self.x),
            denoised=copy(self.denoised),
            predictions=[copy(prediction) for prediction in self.predictions] if baselines else (),
            baselines=baselines,
        )
