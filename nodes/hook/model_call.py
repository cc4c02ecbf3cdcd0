"""What a baseline sees of a sampling run: the model's calls, one after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from ...uncertainty.noising import Noising
from ...uncertainty.probes import Denoiser


@dataclass(frozen=True)
class Call:
    """One call of the model by the sampler, and what a baseline may ask for.

    Attributes:
        step: zero-based step of the schedule it belongs to.
        x: noisy latents, (B, C, *spatial) float32.
        sigma: noise levels, (B,).
        denoised: what the model made of them.
        noising: coefficients of a noise level.
        score: noise prediction with CFG, for passes of one's own.
        passes_per_call: how many of these go through the model at once.
        predictions: the denoised images that CFG combined, with the prompt and without, where there were two.
        options: model options without what keeps state from call to call, for calls of the model itself.
        count: to be told of evaluations that ``score`` does not count.
        mask: where sampling may change the image, (B, 1, *spatial), or None for everywhere.
    """

    step: int
    x: Tensor
    sigma: Tensor
    denoised: Tensor
    noising: Callable[[Tensor], Noising]
    score: Denoiser
    passes_per_call: int
    predictions: Sequence[Tensor]
    options: dict
    count: Callable[[int], None]
    mask: Tensor | None


class Baseline(Protocol):
    """A score beside the map; ``name`` is out of ``BASELINES``."""

    name: str

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Learn the schedule and the steps that are measured. Raises ValueError where this model cannot be measured so."""

    def observe(self, call: Call) -> None:
        """Around a call of the model."""

    def score(self) -> Tensor | None:
        """The score (B,), once sampled; None where no call was measured."""


def stream(*parts: int) -> int:
    """A seed of its own for each combination."""
    state = 0
    for part in parts:
        state = (state * 0x9E3779B97F4A7C15 + part + 1) % 2**63
    return state
