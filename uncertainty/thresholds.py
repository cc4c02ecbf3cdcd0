"""Calibrated thresholds: what uncertainty is usual, per step and over images (the paper's τ_t)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Thresholds τ_t per step, and the scores of the images they were calibrated on.

    Attributes:
        tau: by step number, tensors that broadcast over (B, C, *spatial).
        scores: by quantity, sorted reference scores (N,).
        settings: what must agree between calibration and use.
    """

    tau: Mapping[int, Tensor]
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def at(self, step: int) -> Tensor:
        """τ of one step.

        Raises:
            ValueError: the calibration did not cover the step.
        """
        if step not in self.tau:
            raise ValueError(f"thresholds cover the steps {sorted(self.tau)}, not step {step}: calibrate with this window.")
        return self.tau[step]

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError naming every setting in which calibration and use differ."""
        wrong = {k: (v, settings[k]) for k, v in self.settings.items() if k in settings and settings[k] != v}
        if wrong:
            listed = "; ".join(f"{name}: {a!r} when calibrated, {b!r} now" for name, (a, b) in wrong.items())
            raise ValueError(f"thresholds were made under other settings ({listed}).")

    def rank(self, quantity: str, scores: Tensor) -> Tensor:
        """Fraction of the reference images that score lower, shape of ``scores``, 0 to 1.

        Raises:
            ValueError: the calibration holds no scores of the quantity.
        """
        if quantity not in self.scores:
            raise ValueError(f"thresholds hold reference scores of {list(self.scores) or 'no quantity'}, not of {quantity}.")
        reference = self.scores[quantity].contiguous()
        return torch.searchsorted(reference, scores.to(reference)).to(scores) / len(reference)
