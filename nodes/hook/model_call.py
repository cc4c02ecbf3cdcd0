"""One call of the model by the sampler, and the interface of baselines, which observe these calls."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import comfy.model_management
import comfy.samplers
import torch
from torch import Tensor

from ...uncertainty.noising import Noising
from ...uncertainty.parts import Parts


@dataclass(frozen=True)
class Call:
    """One call of the model. Packed latents stay packed, (B, 1, N), in all tensors.

    Attributes:
        guider: guider that called the model.
        parts: shapes of the parts of the latents.
        step: zero-based step of the schedule.
        number: number of earlier measured calls in this step.
        images: index of each image in its batch.
        x: noisy latents, (B, C, *spatial) float32.
        sigma: noise levels, (B,).
        levels: the same in main memory.
        denoised: denoised image from the model, float32.
        noising: computes coefficients, on the device, of noise levels in main memory.
        predict: computes the denoised image for any latents and noise levels, float32, and the one under the prompt alone.
        probes_per_call: number of probes of the batch per call of the model.
        predictions: the denoised images that CFG combined, with and without the prompt if there were two.
        options: model options without hooks that keep state between calls, for direct calls of the model.
        mask: where sampling may change the image, (B, 1, *spatial), or None for everywhere.
        evaluations: number of extra evaluations, by ``counted_as``.
        counted_as: key under which evaluations of this call are counted.
    """

    guider: Any
    parts: Parts
    step: int
    number: int
    images: Sequence[int]
    x: Tensor
    sigma: Tensor
    levels: Tensor
    denoised: Tensor
    noising: Callable[[Tensor], Noising]
    predict: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    probes_per_call: int
    predictions: Sequence[Tensor]
    options: dict
    mask: Tensor | None
    evaluations: Counter[str]
    counted_as: str = "map"

    @cached_property
    def level(self) -> Noising:
        """The coefficients at the noise levels of the call.

        Raises:
            ValueError: a or b is 0 there.
        """
        return self.noising(self.levels)

    def asked_by(self, name: str) -> "Call":
        """A copy of the call whose evaluations are counted under another name."""
        return replace(self, counted_as=name)

    def count(self, evaluations: int) -> None:
        """Count evaluations made without ``score``."""
        self.evaluations[self.counted_as] += evaluations

    def score(self, z: Tensor, sigma: Tensor) -> Tensor:
        """Noise prediction at latents z, (M·B, C, *spatial), at the call's noise levels."""
        return self.both_scores(z, sigma)[0]

    def both_scores(self, z: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Noise prediction at latents z, (M·B, C, *spatial), at the call's noise levels, and the one under the prompt alone."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        copies = len(z) // len(self.x)
        self.count(copies)
        if self.mask is not None:
            # The area outside the mask stays unchanged, because some video models need their known frames without noise.
            free, known = (t.repeat(copies, *[1] * (z.ndim - 1)) for t in (self.mask > 0, self.x))
            z = torch.where(free, z, known.to(z))
        level = self.level.repeated(copies)
        denoised, prompted = self.predict(z, sigma)
        return level.noise_prediction(z, denoised), level.noise_prediction(z, prompted)

    def denoised_under(self, prompts: tuple[str, str], z: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """The denoised image at latents z, (M·B, C, *spatial), under each of two prompts of the guider alone."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        self.count(len(z) // len(self.x))
        conds = [self.guider.conds[name] for name in prompts]
        first, second = comfy.samplers.calc_cond_batch(self.guider.inner_model, conds, z, sigma, self.options)
        return first.float(), second.float()


class BaselineRun(Protocol):
    """A score measured along with the map; ``name`` is one of ``BASELINES``.

    A baseline that evaluates the model may observe a call only when the image is finished, so that nothing attached to the model
    notices.
    """

    name: str

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Called before sampling with the schedule and the measured steps. Raise ValueError if the model is not supported."""

    def evaluates(self, step: int) -> bool:
        """Whether observing a call of this step may evaluate the model; if not, the baseline observes it during sampling."""

    def observe(self, call: Call) -> None:
        """Called for every model call, in order."""

    def scores(self) -> Sequence[Tensor]:
        """The score of each part of the latents, (B,), after sampling; () if no call was measured."""

    def map(self) -> Tensor | None:
        """What the score is made of, packed like the latents; None if no call was measured or the baseline has no map."""


def stream(*parts: int) -> int:
    """A different seed for each combination of numbers."""
    state = 0
    for part in parts:
        state = (state * 0x9E3779B97F4A7C15 + part + 1) % 2**63
    return state
