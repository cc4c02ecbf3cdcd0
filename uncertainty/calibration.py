"""Calibration: from the maps of many images to thresholds τ_t, the p-th order statistic per step, channel and pixel.

The thresholds are of the quantity that guides, which the settings of the maps name: ``score_variance`` unless chosen otherwise.

A calibration keeps every image up to ``KEPT`` images, and after that a uniform random sample of all images so far (Vitter,
*Random Sampling with a Reservoir*, ACM TOMS 11(1), 1985, Algorithm R). Its size is therefore bounded.

With n of N images kept, τ has rank ⌈n·p/100⌉ among the kept images. While n = N this is exact. After that, for 95 of 100
elements the fraction of all images at or below τ is within ``1.96·sqrt(p(1 - p)/n)`` of p: ±1.9 points at p = 95.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .maps import UncertaintyMap
from .quantities import QUANTITIES
from .settings import GUIDED, check_agreement, compared, guided_quantity, parts_in_words
from .thresholds import Thresholds

KEPT = 512

# Keeps this random stream independent of others that are seeded with the same numbers.
_DOMAIN = 0x63616C69


@dataclass(frozen=True, eq=False)
class Calibration:
    """The n images kept of the N calibrated so far. Immutable.

    Attributes:
        values: the guided quantity of the kept images, (n, S, C, *spatial).
        scores: scores of the kept images by quantity, over all recorded steps, (n,).
        recent: digests of the last n images, used to skip duplicates, int64 (n,).
        count: N.
        steps: the S recorded steps.
        sigmas: noise levels of these steps, (S,).
        settings: settings on which all maps must agree.
        other_parts: those of what was sampled together with these images, as in an ``UncertaintyMap``; all hold the same images.
    """

    values: Tensor
    scores: Mapping[str, Tensor]
    recent: Tensor
    count: int
    steps: tuple[int, ...]
    sigmas: Tensor
    settings: Mapping[str, Any]
    other_parts: tuple["Calibration", ...] = ()

    def __post_init__(self) -> None:
        """Freeze the mappings and check that everything has the same number of images and steps.

        Raises:
            ValueError: the numbers differ.
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
            raise ValueError(f"a calibration of {self.count} images must hold {kept} entries in each part, got {lengths}.")
        for other in self.other_parts:
            if (other.count, other.steps) != (self.count, self.steps) or other.other_parts:
                raise ValueError(
                    f"the calibration's other_parts must have its {self.count} images, its steps {list(self.steps)} and no parts "
                    f"of their own, got {other.count} images, steps {list(other.steps)} and {len(other.other_parts)} parts."
                )

    @property
    def parts(self) -> list["Calibration"]:
        """Those of all latents that were sampled together, this one first."""
        return [self, *self.other_parts]

    @classmethod
    def like(cls, measured: UncertaintyMap) -> "Calibration":
        """An empty calibration for maps like this one.

        Raises:
            ValueError: the map was made without probes.
        """
        quantity = guided_quantity(measured.settings)
        return cls(
            values=measured.quantity(quantity)[:, 0][None][:0],
            scores={name: torch.empty(0) for name in measured.names if name in QUANTITIES},
            recent=torch.empty(0, dtype=torch.int64),
            count=0,
            steps=measured.steps,
            sigmas=measured.sigmas,
            settings=compared(measured.settings) | {GUIDED: quantity},
            other_parts=tuple(map(cls.like, measured.other_parts)),
        )

    def add(self, measured: UncertaintyMap) -> "Calibration":
        """A calibration that also covers the images of this map. Images already among the last ``KEPT`` are skipped.

        Latents that were sampled together are one image, which is new if any of them is. Which images are kept depends only on
        their position in the sequence, so stopping and resuming changes nothing.

        Raises:
            ValueError: the map was made with other settings or with a noise mask, or an image has non-finite values.
        """
        self._check(measured)
        maps = measured.parts
        images = [part._guided(alone).transpose(0, 1) for part, alone in zip(self.parts, maps, strict=True)]
        known, count = set(self.recent.tolist()), self.count
        kept, recent = {}, {}
        for index, image in enumerate(zip(*images, strict=True)):
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
        first, *others = (
            replace(
                part,
                values=_with(part.values, kept, values[rows]),
                scores={name: _with(scores, kept, alone.score(name).value[rows]) for name, scores in part.scores.items()},
                recent=_with(self.recent, recent, torch.tensor(list(recent.values()), dtype=torch.int64)),
                count=count,
                other_parts=(),
            )
            for part, alone, values in zip(self.parts, maps, images, strict=True)
        )
        return replace(first, other_parts=tuple(others))

    def thresholds(self, percentile: float) -> Thresholds:
        """τ of every step, (1, C, *spatial): the ⌈n·p/100⌉-th smallest value of the n kept images, the smallest for p = 0.

        Raises:
            ValueError: the percentile is outside 0 to 100, or the calibration has no images.
        """
        if not 0 <= percentile <= 100:
            raise ValueError(f"percentile must be between 0 and 100, got {percentile}.")
        if not self.count:
            raise ValueError("the calibration holds no images: add a map first.")
        rank = max(1, math.ceil(len(self.values) * percentile / 100))
        tau = self.values.kthvalue(rank, dim=0, keepdim=True).values
        return Thresholds(
            tau={step: tau[:, row] for row, step in enumerate(self.steps)},
            scores=self._sorted_scores(),
            settings=self.settings,
            other_parts=tuple(other.thresholds(percentile) for other in self.other_parts),
        )

    def _sorted_scores(self) -> dict[str, Tensor]:
        return {name: values.sort().values for name, values in self.scores.items()}

    def rank_error(self, percentile: float) -> float:
        """Half-width of the 95 % interval of τ's percentile, in points. Percentiles outside 1 to 99 are treated as 1 or 99."""
        if self.count <= KEPT:
            return 0.0
        p = min(max(percentile / 100, 0.01), 0.99)
        return 100 * 1.96 * math.sqrt(p * (1 - p) / KEPT)

    def report(self, percentile: float, new: int) -> str:
        """A report for the user on the images and the precision of τ. ``new`` is the number of images just added."""
        exact = "exact" if self.count <= KEPT else f"within {self.rank_error(percentile):.1f} points of {percentile:g} at 95 %"
        lines = [
            f"{self.count} images, {new} of them new" + ("" if new else " (all were already counted)"),
            f"thresholds at percentile {percentile:g} from {len(self.values)} kept images: {exact}",
        ]
        for part in self.parts:
            which = f"{parts_in_words([part.settings])}, " if self.other_parts else ""
            for name, scores in part._sorted_scores().items():
                low, middle, high = (scores[(len(scores) - 1) * percent // 100] for percent in (5, 50, 95))
                lines.append(f"{which}{name}: median score {middle:.4g}, 90 % between {low:.4g} and {high:.4g}")
        return "\n".join(lines)

    def _guided(self, measured: UncertaintyMap) -> Tensor:
        """The quantity that is calibrated, (S, B, C, *spatial)."""
        return measured.quantity(guided_quantity(self.settings))

    def _check(self, measured: UncertaintyMap) -> None:
        if not measured.quantities:
            raise ValueError("the map has no recorded steps, because samples was 0: set samples to 5.")
        if measured.mask is not None:
            raise ValueError("the map has a noise mask, so part of the image was not sampled: calibrate without a noise mask.")
        check_agreement(
            _described(self, self.values.shape[2:]),
            _described(measured, measured.shape[2:]),
            "the calibration was started with other settings: use another name, or restore these settings",
            "in the calibration",
        )
        if not torch.allclose(self.sigmas, measured.sigmas, rtol=1e-4):
            there, now = ([round(level, 4) for level in sigmas.tolist()] for sigmas in (self.sigmas, measured.sigmas))
            raise ValueError(
                f"the calibration was started with other noise levels ({there} in the calibration, {now} now): use the same "
                "scheduler, or another name."
            )
        broken = [i for i, image in enumerate(self._guided(measured).transpose(0, 1)) if not bool(torch.isfinite(image).all())]
        if broken:
            raise ValueError(f"image {', '.join(map(str, broken))} of the map has values that are not finite: leave it out.")
        for part, other in zip(self.other_parts, measured.other_parts, strict=True):
            part._check(other)


def _described(content: Calibration | UncertaintyMap, shape: Sequence[int]) -> dict[str, Any]:
    """What all maps of a calibration must have in common."""
    settings = content.settings
    return {
        **settings,
        GUIDED: guided_quantity(settings),
        "recorded steps": list(content.steps),
        "latents": parts_in_words([part.settings for part in content.parts]),
        "latent shape": list(shape),
    }


def _digest(image: Iterable[Tensor]) -> int:
    """A digest of the maps of all latents of an image."""
    told = blake2b(digest_size=8)
    for part in image:
        told.update(part.contiguous().numpy().tobytes())
    return int.from_bytes(told.digest(), "little", signed=True)


def _slot(number: int) -> int:
    """The slot of image ``number``: the next free one, then a random one of 0 to ``number``. From ``KEPT`` on it is dropped."""
    if number < KEPT:
        return number
    return int(np.random.SeedSequence([_DOMAIN, number]).generate_state(1, np.uint64)[0]) % (number + 1)


def _with(kept: Tensor, slots: Mapping[int, Any], rows: Tensor) -> Tensor:
    """A copy with the rows written to their slots, extended if a slot is past the end."""
    if not slots:
        return kept
    result = torch.empty(max(len(kept), max(slots) + 1), *kept.shape[1:], dtype=kept.dtype)
    result[: len(kept)] = kept
    result[torch.tensor(list(slots))] = rows
    return result
