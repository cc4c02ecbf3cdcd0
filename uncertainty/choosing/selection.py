"""Splits a batch into kept and rejected images, with a report."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..scores import Score
from ..thresholds import Thresholds
from .cut import Rule, best_first, passing, passing_ranks, passing_standing
from .standing import Comparison, place


@dataclass(frozen=True)
class Selection:
    """A batch that was split.

    Attributes:
        kept: indices of the kept images, in batch order.
        rejected: indices of the others, in batch order.
        best_first: indices of all images.
        compared: what the images were compared with, in words; empty in modes that compare within the batch.
        report: a report for the user.
    """

    kept: tuple[int, ...]
    rejected: tuple[int, ...]
    best_first: tuple[int, ...]
    compared: str
    report: str


def select(
    score: Score,
    rule: Rule,
    *,
    quantity: str,
    thresholds: Thresholds | None = None,
    comparison: Comparison | None = None,
    parts: Sequence[str] | None = None,
) -> Selection:
    """Split a batch.

    Args:
        score: score of each image.
        rule: the rule that decides which images are kept.
        quantity: the scored quantity, for the report and the thresholds.
        thresholds: calibrated images, for mode ``reference``.
        comparison: comparison with recorded images, for mode ``reference`` without thresholds.
        parts: for each image, what its score is made of, in words; None for a score with a standard error.

    Raises:
        ValueError: mode ``reference`` has neither thresholds nor a comparison, or no image passes and ``when_none_pass`` is
            ``error``.
    """
    values = score.value
    passed = _passed(values, rule, quantity, thresholds, comparison)
    order = best_first(values, rule.reject)
    note = ""
    if not passed:
        if rule.when_none_pass == "error":
            raise ValueError(
                f"no image passed mode {rule.mode} on {quantity}, and when_none_pass is error: the scores are "
                f"{[round(v, 4) for v in values.tolist()]}."
            )
        note = " (none passed)"
        if rule.when_none_pass == "keep_best_one" and bool(torch.isfinite(values).any()):
            passed = {order[0]}
            note = " (none passed, kept the best one)"
    kept = tuple(sorted(passed))
    rejected = tuple(i for i in range(len(values)) if i not in passed)
    head = f"{quantity}, {rule.mode}, rejecting the {rule.reject}: kept {len(kept)} of {len(values)}{note}"
    compared = _compared(rule, quantity, thresholds, comparison)
    placed = comparison if rule.mode == "reference" and thresholds is None else None
    lines = [head, *([compared] if compared else []), *_lines(score, order, passed, rule, placed, parts)]
    return Selection(kept, rejected, tuple(order), compared, "\n".join(lines))


def _passed(values: Tensor, rule: Rule, quantity: str, thresholds: Thresholds | None, comparison: Comparison | None) -> set[int]:
    if rule.mode != "reference":
        return passing(values, rule)
    if thresholds is not None:
        return passing_ranks(values, thresholds.rank(quantity, values), rule)
    if comparison is not None:
        return passing_standing(values, comparison.standing, rule)
    raise ValueError("mode 'reference' compares with other images: connect thresholds, or choose another mode.")


def _compared(rule: Rule, quantity: str, thresholds: Thresholds | None, comparison: Comparison | None) -> str:
    """What the images are compared with in mode ``reference``, in words; empty in other modes."""
    if rule.mode != "reference":
        return ""
    if thresholds is not None:
        return f"compared with {len(thresholds.scores[quantity])} calibrated images, whatever their prompts"
    return comparison.words if comparison is not None else ""


def _lines(
    score: Score, order: list[int], passed: set[int], rule: Rule, comparison: Comparison | None, parts: Sequence[str] | None
) -> list[str]:
    """One line of the report per image, best first."""
    invalid = [i for i in range(len(score.value)) if not torch.isfinite(score.value[i])]
    lines = [f"rejected without a valid score: image {', '.join(map(str, invalid))}"] if invalid else []
    for number, i in enumerate(order, start=1):
        mark = "kept" if i in passed else "rejected"
        ranked = ""
        if comparison is not None and i not in invalid:
            standing = comparison.standing
            ranked = f", {place(int(standing.better(rule.reject)[i]), standing.count)}"
        about = f"± {score.standard_error[i]:.2g}" if parts is None else f"({parts[i]})"
        lines.append(f"{number:>3}. image {i}: {score.value[i]:.4g} {about}  {mark}{ranked}")
    return lines
