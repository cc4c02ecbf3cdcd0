"""Calibrated thresholds: a percentile of the uncertainty of many images, per step and element (the paper's τ_t)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from .parts import Parts
from .settings import GUIDED, check_agreement, guided_quantity, parts_in_words


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Thresholds τ_t of the guided quantity per step, and the scores of the calibrated images.

    Attributes:
        tau: by step number, tensors that broadcast over (B, C, *spatial).
        scores: by quantity, sorted reference scores (N,).
        settings: settings on which calibration and use must agree.
        other_parts: those of what was sampled together with these images, as in an ``UncertaintyMap``.
    """

    tau: Mapping[int, Tensor]
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    other_parts: tuple["Thresholds", ...] = ()

    def __post_init__(self) -> None:
        """Freeze the mappings and check the shapes of the reference scores and the steps of other parts.

        Raises:
            ValueError: the scores of a quantity are empty or not one-dimensional, or the steps differ.
        """
        for name in ("tau", "scores", "settings"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        shapes = {name: tuple(scores.shape) for name, scores in self.scores.items()}
        if any(len(shape) != 1 or shape == (0,) for shape in shapes.values()):
            raise ValueError(f"thresholds must hold a row of at least one reference score per quantity, got the shapes {shapes}.")
        for other in self.other_parts:
            if other.tau.keys() != self.tau.keys() or other.other_parts:
                raise ValueError(
                    f"the thresholds' other_parts must have their steps {sorted(self.tau)} and no parts of their own, got steps "
                    f"{sorted(other.tau)} and {len(other.other_parts)} parts."
                )

    @property
    def parts(self) -> list["Thresholds"]:
        """Those of all latents that were sampled together, these first."""
        return [self, *self.other_parts]

    def part(self, number: int | None) -> "Thresholds":
        """Those of one of the latents that were sampled together, or, if None, of one that was sampled alone.

        Raises:
            ValueError: they are of other latents.
        """
        for each in self.parts:
            if each.settings.get("part") == number:
                return each
        raise ValueError(
            f"thresholds are of {parts_in_words([each.settings for each in self.parts])}, not of "
            f"{parts_in_words([{'part': number}])}: calibrate with maps of the same latents, as the sampler gives them."
        )

    def packed(self, step: int, parts: Parts, images: int) -> Tensor:
        """τ of one step for a batch of latents with these parts, packed as they are: (B, 1, N), or (B, C, *spatial) if plain.

        Raises:
            ValueError: as ``part`` and ``at``.
        """
        latents = zip(parts.numbers, parts.shapes, strict=True)
        return parts.join([self.part(part).at(step, (images, *shape)).expand(images, *shape) for part, shape in latents])

    def at(self, step: int, shape: Sequence[int] | None = None) -> Tensor:
        """τ of one step, for latents of ``shape`` (B, C, *spatial).

        Raises:
            ValueError: the calibration did not cover the step, or was made on latents of another shape.
        """
        if step not in self.tau:
            raise ValueError(f"thresholds cover steps {sorted(self.tau)}, not step {step}: calibrate with this window.")
        tau = self.tau[step]
        if shape is not None and not _broadcasts(tau.shape, shape):
            which = f" of {parts_in_words([self.settings])}" if "part" in self.settings else ""
            raise ValueError(
                f"thresholds{which} were calibrated on latents of shape {list(tau.shape[1:])}, but these have shape "
                f"{list(shape[1:])}: calibrate with this model at this image size."
            )
        return tau

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise ValueError naming every setting in which calibration and use differ."""
        # Scores are compared whatever guides; ``check_guides`` compares that.
        before = {name: value for name, value in self.settings.items() if name != GUIDED}
        check_agreement(before, settings, "thresholds were calibrated with other settings", "when calibrated")

    def check_guides(self, quantity: str) -> None:
        """Raise ValueError if the thresholds are of another quantity than the one that guides."""
        calibrated = guided_quantity(self.settings)
        if calibrated != quantity:
            raise ValueError(
                f"thresholds are of {calibrated}, but guided_quantity is {quantity}: set guided_quantity to {calibrated}, or "
                f"calibrate again with maps whose guided_quantity is {quantity}."
            )

    def rank(self, quantity: str, scores: Tensor) -> Tensor:
        """Fraction of the reference images with a lower score, 0 to 1, in the shape of ``scores``.

        Raises:
            ValueError: there are no reference scores of the quantity.
        """
        if quantity not in self.scores:
            raise ValueError(
                f"thresholds hold reference scores of {', '.join(self.scores) or 'no quantity'}, not of {quantity}: choose "
                "another quantity, or calibrate again."
            )
        reference = self.scores[quantity].contiguous()
        return torch.searchsorted(reference, scores.to(reference)).to(scores) / len(reference)


def _broadcasts(tau: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether τ broadcasts to the shape without changing it."""
    return len(tau) <= len(shape) and all(a in (1, b) for a, b in zip(reversed(tau), reversed(shape), strict=False))
