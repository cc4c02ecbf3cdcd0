"""The maps of a run: of its measured steps and of the whole run, for each latent that is sampled."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...uncertainty.estimation import Estimate
from ...uncertainty.estimators import ESTIMATORS
from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.parts import Parts
from ...uncertainty.quantities import DEFAULT_QUANTITY, drift
from ...uncertainty.quantities.drift import Drift
from ...uncertainty.recorder import Recorder
from . import baselines
from .model_call import BaselineRun, Call


class RunMaps:
    """What one run measured. Several latents that are sampled together are packed, (B, 1, N), until the map is made.

    Args:
        parts: shapes of the latents.
        total_steps: number of steps of the schedule.
        recorders: keeps the measured steps of each latent.
        mask: where sampling may change the image, (B, 1, *spatial) in main memory, or None for everywhere.
        observing: baselines that observe the run.
    """

    def __init__(
        self,
        parts: Parts,
        total_steps: int,
        recorders: Sequence[Recorder],
        mask: Tensor | None = None,
        observing: Sequence[BaselineRun] = (),
    ) -> None:
        self.parts = parts
        self.mask = mask
        self.drift = Drift(total_steps)
        self._total_steps = total_steps
        self._recorders = recorders
        self._baselines = observing
        self._shows_first = not _is_empty(parts.masks(mask)[0])

    @property
    def steps(self) -> Sequence[int]:
        """The steps measured so far."""
        return self._recorders[0].steps

    @property
    def masked_out(self) -> bool:
        """Whether the mask keeps everything."""
        return _is_empty(self.mask)

    def record(self, call: Call, measured: Estimate, estimator: str) -> None:
        """Record what was measured at a call."""
        standard_errors = ESTIMATORS[estimator].standard_errors
        quantities = {name: self.parts.split(values) for name, values in measured.quantities.items()}
        each = zip(self._recorders, measured.probes.split(self.parts), self.parts.masks(call.mask), strict=True)
        for part, (recorder, probes, mask) in enumerate(each):
            maps = {name: values[part] for name, values in quantities.items()}
            if mask is not None:  # nothing was measured outside the mask
                maps = {name: torch.where(mask > 0, value, 0) for name, value in maps.items()}
            recorder.record(call.step, maps, standard_errors(probes, mask), float(call.levels.max()))

    def shown(self, call: Call, measured: Estimate) -> Tensor | None:
        """What a preview shows of a call: the map of the first latent; None if the mask keeps that whole."""
        if not self._shows_first:
            return None
        found = measured.quantities[DEFAULT_QUANTITY]
        return self.first(found if call.mask is None else torch.where(call.mask > 0, found, 0))

    def first(self, packed: Tensor) -> Tensor:
        """The first latent of packed ones."""
        return self.parts.split(packed)[0]

    def of_run(self) -> dict[str, Tensor]:
        """Maps of the whole run, packed like the latents, on the CPU."""
        maps = baselines.maps(self._baselines)
        if self.drift.map is not None:
            inside = self.drift.map if self.mask is None else self.drift.map * (self.mask > 0).to(self.drift.map)
            maps = {drift.QUANTITY.name: inside.cpu(), **maps}
        return maps

    def uncertainty_map(self, settings: dict[str, Any], images: Sequence[int]) -> UncertaintyMap:
        """The map of the recorded steps and of the whole run; something must have been measured.

        Args:
            settings: what is stored with the map.
            images: index of each image in its batch.
        """
        masks = self.parts.masks(self.mask)
        of_run = {name: self.parts.split(values) for name, values in self.of_run().items()}
        scores = baselines.scores(self._baselines, len(self.parts))
        maps = (
            UncertaintyMap(
                **recorder.arguments(),
                total_steps=self._total_steps,
                mask=masks[part],
                settings=settings | ({"part": part} if len(self.parts) > 1 else {}),
                baselines=scores[part],
                of_run={name: values[part] for name, values in of_run.items()},
            )
            for part, recorder in enumerate(self._recorders)
        )
        # What a mask keeps whole, such as a video that gets a sound, comes last: it has no score.
        first, *others = sorted(maps, key=lambda found: _is_empty(found.mask))
        named = len(images) == len(set(images)) == first.images
        return replace(first, places=tuple(images) if named else (), other_parts=tuple(others))


def _is_empty(mask: Tensor | None) -> bool:
    return mask is not None and not bool(mask.any())
