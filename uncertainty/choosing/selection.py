"""Choosing images of a batch by their score."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..choices import check_choice
from ..maps import Score
from ..thresholds import Thresholds

MODES = ("keep_best", "percentile", "threshold", "reference")
REJECT = ("highest", "lowest")
WHEN_NONE_PASS = ("block", "keep_best_one", "error")


@dataclass(frozen=True)
class Standing:
    """Where images lie among many: how many of those score lower and higher, (B,), and how many there are, these included."""

    lower: Tensor
    higher: Tensor
    count: int


@dataclass(frozen=True)
class Selection:
    """Indices of kept and rejected images, both in batch order, all images best first, and a report to read."""

    kept: tuple[int, ...]
    rejected: tuple[int, ...]
    best_first: tuple[int, ...]
    report: str


def order(scores: Tensor, reject: str) -> list[int]:
    """Image indices, best first; ties keep their order, scores that are not finite come last."""
    badness = scores if reject == "highest" else -scores
    return torch.sort(torch.where(torch.isfinite(scores), badness, torch.inf), stable=True).indices.tolist()


def _compared(beaten: int, others: int) -> str:
    return f", better than {100 * beaten // others} % of {others}" if others else ", the first of its kind"


def _passing(scores: Tensor, mode: str, keep: int, percentile: float, threshold: float, reject: str) -> set[int]:
    sign = 1 if reject == "highest" else -1
    valid = [i for i in order(scores, reject) if torch.isfinite(scores[i])]
    if mode == "keep_best":
        return set(valid[:keep])
    if mode == "threshold":
        return {i for i in valid if sign * scores[i] <= sign * threshold}
    # Of n images, the best ⌈n·p/100⌉: at 100 all pass, at 0 none.
    return set(valid[: -int(-len(valid) * percentile // 100)])


def select(
    score: Score,
    *,
    quantity: str,
    mode: str = "keep_best",
    keep: int = 1,
    percentile: float = 50.0,
    threshold: float = 0.0,
    reject: str = "highest",
    when_none_pass: str = "block",
    thresholds: Thresholds | None = None,
    standing: Standing | None = None,
) -> Selection:
    """Split a batch into kept and rejected images.

    Args:
        score: of each image.
        quantity: what was scored, for the report and the reference.
        mode: ``keep_best`` keeps the ``keep`` best; ``percentile`` the best that many per cent; ``threshold`` those at or
            under (rejecting the lowest: over) ``threshold``; ``reference`` those better than ``100 - percentile`` per cent
            of the calibrated images, or among the best ``percentile`` per cent of the images recorded so far.
        keep: number of images.
        percentile: 0 to 100.
        threshold: a score.
        reject: which end is bad, ``highest`` or ``lowest``.
        when_none_pass: ``block`` keeps none, ``keep_best_one`` the best of them, ``error`` raises.
        thresholds: calibrated images, for ``reference``.
        standing: among the recorded images, for ``reference`` without thresholds.

    Raises:
        ValueError: an unknown mode, a threshold of NaN, ``reference`` without either, or no image passes and that is an error.
    """
    check_choice("mode", mode, MODES)
    check_choice("reject", reject, REJECT)
    check_choice("when_none_pass", when_none_pass, WHEN_NONE_PASS)
    if math.isnan(threshold):
        raise ValueError("threshold must be a number, got nan.")
    values = score.value
    compared = [""] * len(values)
    if mode != "reference":
        passing = _passing(values, mode, keep, percentile, threshold, reject)
    elif thresholds is not None:
        rank = thresholds.rank(quantity, values)
        limit = percentile / 100
        passing = _passing(rank, "threshold", keep, percentile, limit if reject == "highest" else 1 - limit, reject)
        passing = {i for i in passing if torch.isfinite(values[i])}
    elif standing is not None:
        better, worse = (standing.lower, standing.higher)[:: 1 if reject == "highest" else -1]
        # As many as ``percentile`` would keep of all of them: of n images the best ⌈n·p/100⌉.
        passing = {i for i in range(len(values)) if torch.isfinite(values[i]) and better[i] * 100 < percentile * standing.count}
        others = standing.count - 1
        compared = [_compared(int(worse[i]), others) if torch.isfinite(values[i]) else "" for i in range(len(values))]
    else:
        raise ValueError("mode 'reference' compares with other images: connect thresholds, or choose another mode.")
    best_first = order(values, reject)
    invalid = [i for i in range(len(values)) if not torch.isfinite(values[i])]
    note = ""
    if not passing:
        if when_none_pass == "error":
            raise ValueError(f"no image passed {mode} on {quantity}: scores are {[round(v, 4) for v in values.tolist()]}.")
        if when_none_pass == "keep_best_one" and len(invalid) < len(values):
            passing = {best_first[0]}
            note = "none passed, kept the best one"
        else:
            note = "none passed"
    kept = tuple(sorted(passing))
    rejected = tuple(i for i in range(len(values)) if i not in passing)
    lines = [f"{quantity}, {mode}, rejecting the {reject}: kept {len(kept)} of {len(values)}" + (f" ({note})" if note else "")]
    if invalid:
        lines.append(f"rejected without a valid score: image {', '.join(map(str, invalid))}")
    for rank_number, i in enumerate(best_first, start=1):
        mark = "kept" if i in passing else "rejected"
        lines.append(f"{rank_number:>3}. image {i}: {values[i]:.4g} ± {score.standard_error[i]:.2g}  {mark}{compared[i]}")
    return Selection(kept, rejected, tuple(best_first), "\n".join(lines))
