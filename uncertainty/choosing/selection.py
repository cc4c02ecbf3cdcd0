"""Splits a batch into kept and rejected images, with a report."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..scores import SCORES, Score, bad_end, measured
from ..thresholds import Thresholds
from .by_hand import UNDECIDED, Verdicts
from .cut import Rule, best_first, passing, passing_ranks, passing_standing, waits, with_verdicts
from .standing import Comparison, place


@dataclass(frozen=True)
class Selection:
    """A batch that was split.

    Attributes:
        kept: indices of the kept images, in batch order.
        rejected: indices of the others, in batch order.
        waits: whether a person has yet to choose, in mode ``choose``; then nothing is kept or rejected.
        best_first: indices of all images.
        by_rule: indices of the images that pass the rule, whatever was decided by hand.
        compared: what the images were compared with, in words; empty in modes that compare within the batch.
        report: a report for the user.
    """

    kept: tuple[int, ...]
    rejected: tuple[int, ...]
    waits: bool
    best_first: tuple[int, ...]
    by_rule: tuple[int, ...]
    compared: str
    report: str


def select(
    score: Score,
    rule: Rule,
    *,
    quantity: str,
    scored: str | None = None,
    thresholds: Thresholds | None = None,
    comparison: Comparison | None = None,
    parts: Sequence[str] | None = None,
    verdicts: Verdicts = UNDECIDED,
) -> Selection:
    """Split a batch.

    Args:
        score: score of each image.
        rule: the rule that decides which images are kept.
        quantity: the scored quantity, for the report and the thresholds.
        scored: the quantity that a mean rank is made of, which says what end is good; None if it is ``quantity``.
        thresholds: calibrated images, for mode ``reference``.
        comparison: comparison with recorded images, for mode ``reference`` without thresholds.
        parts: for each image, what its score is made of, in words; None for a score with a standard error.
        verdicts: what was decided by hand.

    Raises:
        ValueError: mode ``reference`` has neither thresholds nor a comparison, or no image passes and ``when_none_pass`` is
            ``error``.
    """
    values = score.value
    by_rule = _passed(values, rule, quantity, thresholds, comparison)
    passed = with_verdicts(values, by_rule, rule, verdicts)
    waiting = waits(len(values), rule, verdicts)
    order = best_first(values, rule.reject)
    note = ""
    if not passed and not waiting:
        if rule.when_none_pass == "error":
            raise ValueError(
                f"no image passed mode {rule.mode} on {quantity}, and when_none_pass is error: the scores are "
                f"{[round(v, 4) for v in values.tolist()]}."
            )
        note = " (none passed)"
        undecided = [i for i in order if torch.isfinite(values[i]) and i not in verdicts.reject]
        if rule.when_none_pass == "keep_best_one" and undecided:
            passed = {undecided[0]}
            note = " (none passed, kept the best one)"
    kept = tuple(sorted(passed))
    rejected = () if waiting else tuple(i for i in range(len(values)) if i not in passed)
    by_hand = f", {len(verdicts.decided)} by hand" if verdicts.decided else ""
    done = f"choose among {len(values)}" if waiting else f"kept {len(kept)} of {len(values)}"
    head = f"{quantity}, {rule.mode}, rejecting the {rule.reject}: {done}{by_hand}{note}"
    compared = _compared(rule, quantity, thresholds, comparison)
    placed = comparison if rule.mode == "reference" and thresholds is None else None
    others = "undecided" if waiting else "rejected"
    marks = [_mark(i, passed, verdicts, others) for i in range(len(values))]
    notes = [line for line in (compared, _turned(scored or quantity, rule), _elsewhere(verdicts)) if line]
    lines = [head, *notes, *_lines(score, order, marks, rule, placed, parts)]
    return Selection(kept, rejected, waiting, tuple(order), tuple(sorted(by_rule)), compared, "\n".join(lines))


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


def _mark(image: int, passed: set[int], verdicts: Verdicts, others: str) -> str:
    """What became of an image; ``others`` is said of those that did not pass and have no verdict."""
    if image in verdicts.decided:
        return "kept by hand" if image in passed else "rejected by hand"
    return "kept" if image in passed else others


def _elsewhere(verdicts: Verdicts) -> str:
    """The note on verdicts that no image of the batch has; empty if there are none."""
    count = verdicts.elsewhere
    return f"not used: {count} {'verdict' if count == 1 else 'verdicts'} by hand on images of other batches" if count else ""


def _turned(quantity: str, rule: Rule) -> str:
    """The note that the good end is rejected; empty if it is not, or if nothing is rejected by score."""
    if rule.mode == "choose" or quantity not in SCORES or rule.reject == bad_end(quantity):
        return ""
    good = {"highest": "high", "lowest": "low"}[rule.reject]
    return f"a {good} {quantity} is good, but reject is {rule.reject}: set it to {bad_end(quantity)}"


def _lines(
    score: Score, order: list[int], marks: Sequence[str], rule: Rule, comparison: Comparison | None, parts: Sequence[str] | None
) -> list[str]:
    """One line of the report per image, best first."""
    invalid = [i for i in range(len(score.value)) if not torch.isfinite(score.value[i])]
    dropped = [str(i) for i in invalid if marks[i] == "rejected"]
    lines = [f"rejected without a valid score: image {', '.join(dropped)}"] if dropped else []
    for number, i in enumerate(order, start=1):
        ranked = ""
        if comparison is not None and i not in invalid:
            standing = comparison.standing
            ranked = f", {place(int(standing.better(rule.reject)[i]), standing.count)}"
        of = "" if parts is None else f" ({parts[i]})"
        lines.append(f"{number:>3}. image {i}: {measured(score.value[i], score.standard_error[i])}{of}  {marks[i]}{ranked}")
    return lines
