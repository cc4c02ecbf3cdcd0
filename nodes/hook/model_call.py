"""One call of the model by the sampler, and what may be asked of the model at that point."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import comfy.model_management
import torch
from torch import Tensor

from ...uncertainty.noising import Noising


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        guider: whose model was called.
        step: zero-based step of the schedule it belongs to.
        number: how many calls of this step were measured before.
        images: index of each image in its batch.
        x: noisy latents, (B, C, *spatial) float32.
        sigma: noise levels, (B,).
        denoised: what the model made of them, float32.
        noising: coefficients of a noise level.
        predict: the denoised image for latents and noise levels of one's own, float32.
        passes_per_call: how many probes of the batch go through the model at once.
        predictions: the denoised images that CFG combined, with the prompt and without, where there were two.
        options: model options without what keeps state from call to call, for calls of the model itself.
        mask: where sampling may change the image, (B, 1, *spatial), or None for everywhere.
        evaluations: counts what was evaluated, by ``counted_as``.
        counted_as: who asks.
    """

    guider: Any
    step: int
    number: int
    images: Sequence[int]
    x: Tensor
    sigma: Tensor
    denoised: Tensor
    noising: Callable[[Tensor], Noising]
    predict: Callable[[Tensor, Tensor], Tensor]
    passes_per_call: int
    predictions: Sequence[Tensor]
    options: dict
    mask: Tensor | None
    evaluations: Counter[str]
    counted_as: str = "map"

    def asked_by(self, name: str) -> "Call":
        """The same call, whose evaluations count for somebody else."""
        return replace(self, counted_as=name)

    def count(self, evaluations: int) -> None:
        """Count evaluations that ``score`` did not make."""
        self.evaluations[self.counted_as] += evaluations

    def score(self, z: Tensor, sigma: Tensor) -> Tensor:
        """Noise prediction with CFG, (M·B, C, *spatial), for passes of one's own."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        copies = len(z) // len(self.x)
        self.count(copies)
        if self.mask is not None:
            # What sampling may not change stays as it is: some video models are given their known frames without noise.
            free, known = (t.repeat(copies, *[1] * (z.ndim - 1)) for t in (self.mask > 0, self.x))
            z = torch.where(free, z, known.to(z))
        return self.noising(sigma).noise_prediction(z, self.predict(z, sigma))


class Baseline(Protocol):
    """A score beside the map; ``name`` is out of ``BASELINES``."""

    name: str

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Take schedule and measured steps of the run. Raises ValueError where this model cannot be measured so."""

    def observe(self, call: Call) -> None:
        """Look at a call of the model."""

    def score(self) -> Tensor | None:
        """The score (B,), after sampling; None where no call was measured."""


def stream(*parts: int) -> int:
    """A seed of its own for each combination."""
    state = 0
    for part in parts:
        state = (state * 0x9E3779B97F4A7C15 + part + 1) % 2**63
    return state
