"""Splits a batch into kept and rejected images, with a report."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..scores import Score
from ..thresholds import Thresholds
from .cut import Rule, best_first, passing, passing_ranks, passing_standing
from .standing import Standing, better_than


@dataclass(frozen=True)
class Selection:
    """Indices of the kept and the rejected images in batch order, of all images best first, and a report for the user."""

    kept: tuple[int, ...]
    rejected: tuple[int, ...]
    best_first: tuple[int, ...]
    report: str


def select(
    score: Score,
    rule: Rule,
    *,
    quantity: str,
    thresholds: Thresholds | None = None,
    standing: Standing | None = None,
) -> Selection:
    """Split a batch.

    Args:
        score: score of each image.
        rule: the rule that decides which images are kept.
        quantity: the scored quantity, for the report and the thresholds.
        thresholds: calibrated images, for mode ``reference``.
        standing: standing among the recorded images, for mode ``reference`` without thresholds.

    Raises:
        ValueError: mode ``reference`` has neither thresholds nor standing, or no image passes and ``when_none_pass`` is
            ``error``.
    """
    values = score.value
    passed = _passed(values, rule, quantity, thresholds, standing)
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
    lines = [head, *_lines(score, order, passed, rule, standing if thresholds is None else None)]
    return Selection(kept, rejected, tuple(order), "\n".join(lines))


def _passed(values: Tensor, rule: Rule, quantity: str, thresholds: Thresholds | None, standing: Standing | None) -> set[int]:
    if rule.mode != "reference":
        return passing(values, rule)
    if thresholds is not None:
        return passing_ranks(values, thresholds.rank(quantity, values), rule)
    if standing is not None:
        return passing_standing(values, standing, rule)
    raise ValueError("mode 'reference' compares with other images: connect thresholds, or choose another mode.")


def _lines(score: Score, order: list[int], passed: set[int], rule: Rule, standing: Standing | None) -> list[str]:
    """One line of the report per image, best first."""
    invalid = [i for i in range(len(score.value)) if not torch.isfinite(score.value[i])]
    lines = [f"rejected without a valid score: image {', '.join(map(str, invalid))}"] if invalid else []
    for place, i in enumerate(order, start=1):
        mark = "kept" if i in passed else "rejected"
        compared = ""
        if rule.mode == "reference" and standing is not None and i not in invalid:
            beaten = int(standing.worse(rule.reject)[i])
            compared = f", {better_than(beaten, standing.others) if standing.others else 'no other image to compare with'}"
        lines.append(f"{place:>3}. image {i}: {score.value[i]:.4g} ± {score.standard_error[i]:.2g}  {mark}{compared}")
    return lines
