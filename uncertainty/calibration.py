"""Calibration: from the maps of many images to thresholds τ_t, the p-th order statistic per step, channel and pixel.

A calibration keeps whole images, all of them up to ``KEPT``, from then on a uniform sample of all so far (Vitter, *Random
Sampling with a Reservoir*, ACM TOMS 11(1), 1985, Algorithm R). Its size therefore does not depend on how many images there were.

With n of N images kept, τ has rank ⌈n·p/100⌉ among the kept. Its rank among all N is exact while n = N; afterwards the fraction
of all images at or below it lies within ``1.96·sqrt(p(1 - p)/n)`` of p in 95 of 100 elements: ±1.9 points at p = 95.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .maps import UncertaintyMap
from .settings import check_agreement, compared
from .thresholds import Thresholds

KEPT = 512

# Keeps the stream apart from anything else that is seeded with the same numbers.
_DOMAIN = 0x63616C69


@dataclass(frozen=True, eq=False)
class Calibration:
    """The images of many maps, or a uniform sample of n of them. Immutable.

    Attributes:
        values: score variance of the kept images, (n, S, C, *spatial).
        scores: their scores by quantity, over all recorded steps, (n,).
        recent: digests of the last images, by which an image that comes again is known, int64 (n,).
        count: number N of images so far.
        steps: the S recorded steps.
        sigmas: their noise levels, (S,).
        settings: what must agree between all maps.
    """

    values: Tensor
    scores: Mapping[str, Tensor]
    recent: Tensor
    count: int
    steps: tuple[int, ...]
    sigmas: Tensor
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Freeze the mappings and check that the parts fit together.

        Raises:
            ValueError: they do not.
        """
        for name in ("scores", "settings"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        kept = min(self.count, KEPT)
        lengths = {
            "values": len(self.values),
            "recent": len(self.recent),
            **{name: len(scores) for name, scores in self.scores.items()},
        }
        if set(lengths.values()) != {kept} or not self.values.shape[1] == len(self.steps) == len(self.sigmas):
            raise ValueError(f"a calibration of {self.count} images must hold {kept} of each, got {lengths}.")

    @classmethod
    def like(cls, found: UncertaintyMap) -> "Calibration":
        """An empty calibration for maps like this one."""
        return cls(
            values=found.values[:, 0][None][:0],
            scores={name: torch.empty(0) for name in found.quantities},
            recent=torch.empty(0, dtype=torch.int64),
            count=0,
            steps=found.steps,
            sigmas=found.sigmas,
            settings=compared(found.settings),
        )

    def add(self, found: UncertaintyMap) -> "Calibration":
        """With the images of one more map. Those among the last ``KEPT`` images already are not counted again.

        Which images are kept depends on their number alone: stopping and resuming changes nothing.

        Raises:
            ValueError: the map was made under other settings or with a noise mask, or an image has values that are no numbers.
        """
        self._check(found)
        images = found.values.transpose(0, 1)
        known, count = set(self.recent.tolist()), self.count
        kept, recent = {}, {}
        for index, image in enumerate(images):
            digest = _digest(image)
            if digest in known:
                continue
            slot = _slot(count)
            if slot < KEPT:
                kept[slot] = index
            recent[count % KEPT] = digest
            known.add(digest)
            count += 1
        rows = list(kept.values())
        return replace(
            self,
            values=_with(self.values, kept, images[rows]),
            scores={name: _with(scores, kept, found.score(name).value[rows]) for name, scores in self.scores.items()},
            recent=_with(self.recent, recent, torch.tensor(list(recent.values()), dtype=torch.int64)),
            count=count,
        )

    def thresholds(self, percentile: float) -> Thresholds:
        """τ of every step, (1, C, *spatial): of n kept images the ⌈n·p/100⌉-th smallest value, for p = 0 the smallest.

        Raises:
            ValueError: the percentile lies outside 0 to 100, or there is no image.
        """
        if not 0 <= percentile <= 100:
            raise ValueError(f"percentile must lie between 0 and 100, got {percentile}.")
        if not self.count:
            raise ValueError("the calibration holds no images: add a map first.")
        rank = max(1, math.ceil(len(self.values) * percentile / 100))
        tau = self.values.kthvalue(rank, dim=0, keepdim=True).values
        return Thresholds(
            tau={step: tau[:, row] for row, step in enumerate(self.steps)},
            scores=self._sorted_scores(),
            settings=self.settings,
        )

    def _sorted_scores(self) -> dict[str, Tensor]:
        return {name: values.sort().values for name, values in self.scores.items()}

    def rank_error(self, percentile: float) -> float:
        """How many points the rank of τ may be off, at 95 %. The formula has no meaning beyond percentiles of 1 and 99."""
        if self.count <= KEPT:
            return 0.0
        p = min(max(percentile / 100, 0.01), 0.99)
        return 100 * 1.96 * math.sqrt(p * (1 - p) / KEPT)

    def report(self, percentile: float, new: int) -> str:
        """What the calibration holds and how exact τ is, to read; ``new`` images came last."""
        exact = "exact" if self.count <= KEPT else f"within {self.rank_error(percentile):.1f} points of {percentile:g} at 95 %"
        lines = [
            f"{self.count} images, {new} of them new" + ("" if new else " (they were counted before)"),
            f"thresholds at percentile {percentile:g} from {len(self.values)} images kept: {exact}",
        ]
        for name, scores in self._sorted_scores().items():
            low, middle, high = (scores[(len(scores) - 1) * part // 100] for part in (5, 50, 95))
            lines.append(f"{name}: median score {middle:.4g}, 90 % between {low:.4g} and {high:.4g}")
        return "\n".join(lines)

    def _check(self, found: UncertaintyMap) -> None:
        if found.mask is not None:
            raise ValueError("the map has a noise mask, and outside of it nothing was sampled: calibrate on whole images.")
        check_agreement(
            {**self.settings, "recorded steps": list(self.steps), "latent shape": list(self.values.shape[2:])},
            {**found.settings, "recorded steps": list(found.steps), "latent shape": list(found.shape[2:])},
            "the calibration was begun under other settings: use another name, or these again",
            "there",
        )
        if not torch.allclose(self.sigmas, found.sigmas, rtol=1e-4):
            there, now = ([round(level, 4) for level in sigmas.tolist()] for sigmas in (self.sigmas, found.sigmas))
            raise ValueError(f"the calibration was begun with another scheduler (noise levels: {there} there, {now} now).")
        broken = [i for i, image in enumerate(found.values.transpose(0, 1)) if not bool(torch.isfinite(image).all())]
        if broken:
            raise ValueError(f"image {', '.join(map(str, broken))} of the map has values that are no numbers: leave it out.")


def _digest(image: Tensor) -> int:
    return int.from_bytes(blake2b(image.contiguous().numpy().tobytes(), digest_size=8).digest(), "little", signed=True)


def _slot(number: int) -> int:
    """Where image ``number`` goes: the end while there is room, then any of 0 to ``number``; from ``KEPT`` on it is dropped."""
    if number < KEPT:
        return number
    return int(np.random.SeedSequence([_DOMAIN, number]).generate_state(1, np.uint64)[0]) % (number + 1)


def _with(kept: Tensor, slots: Mapping[int, Any], rows: Tensor) -> Tensor:
    """A copy with the rows in their slots, longer where slots lie beyond the end."""
    if not slots:
        return kept
    result = torch.empty(max(len(kept), max(slots) + 1), *kept.shape[1:], dtype=kept.dtype)
    result[: len(kept)] = kept
    result[torch.tensor(list(slots))] = rows
    return result
