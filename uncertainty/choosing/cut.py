"""Decides which images of a batch pass a rule."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..choices import check_choice
from ..plain_numbers import real, whole
from ..scores import BAD_ENDS, badness
from .by_hand import Verdicts
from .standing import Standing

MODES = ("keep_best", "percentile", "threshold", "reference", "choose")
WHEN_NONE_PASS = ("block", "keep_best_one", "error")


@dataclass(frozen=True)
class Rule:
    """The rule that decides which images are kept.

    Attributes:
        mode: ``keep_best`` keeps the ``keep`` best images; ``percentile`` the best ``percentile`` per cent; ``threshold`` those
            at or below ``threshold`` (at or above it if the lowest are rejected); ``reference`` those among the best
            ``percentile`` per cent of the calibrated or recorded images; ``choose`` those kept by hand.
        keep: number of images.
        percentile: 0 to 100.
        threshold: a score.
        reject: which end is bad, ``highest`` or ``lowest``.
        when_none_pass: ``block`` keeps none, ``keep_best_one`` keeps the best image, ``error`` raises.
        across_prompts: whether mode ``reference`` compares with recorded images of all prompts instead of the same one.
    """

    mode: str = "keep_best"
    keep: int = 1
    percentile: float = 50.0
    threshold: float = 0.0
    reject: str = "highest"
    when_none_pass: str = "block"
    across_prompts: bool = False

    def __post_init__(self) -> None:
        """Make all numbers Python's own and check every choice; raise ValueError naming the field."""
        object.__setattr__(self, "keep", whole("keep", self.keep))
        object.__setattr__(self, "percentile", real("percentile", self.percentile))
        object.__setattr__(self, "threshold", real("threshold", self.threshold))
        check_choice("mode", self.mode, MODES)
        check_choice("reject", self.reject, BAD_ENDS)
        check_choice("when_none_pass", self.when_none_pass, WHEN_NONE_PASS)
        if math.isnan(self.threshold):
            raise ValueError("threshold must be a number, got nan.")


def best_first(scores: Tensor, reject: str) -> list[int]:
    """Image indices, best first. Ties keep their order; scores that are not finite come last."""
    return torch.sort(torch.where(torch.isfinite(scores), badness(scores, reject), torch.inf), stable=True).indices.tolist()


def passing(scores: Tensor, rule: Rule) -> set[int]:
    """Indices of the scores (B,) that pass a rule of any mode but ``reference``. Scores that are not finite never pass."""
    if rule.mode == "choose":
        return set()
    valid = _valid(scores, rule)
    bad = badness(scores, rule.reject)
    return {i for place, i in enumerate(valid) if passes(bad[i], place, len(valid), rule)}


def passes(bad: Tensor | float, place: int, count: int, rule: Rule) -> bool:
    """Whether one image passes a rule of mode ``keep_best``, ``percentile`` or ``threshold``.

    Args:
        bad: its score, with the sign that makes high bad.
        place: its place among the ``count`` images with finite scores, 0 for the best.
        count: number of these images.
        rule: the rule.
    """
    if rule.mode != "threshold":
        return place < _number(count, rule)
    return bool(bad <= (rule.threshold if rule.reject == "highest" else -rule.threshold))


def with_verdicts(scores: Tensor, passed: set[int], rule: Rule, verdicts: Verdicts) -> set[int]:
    """Indices of the images to keep: those that pass the rule, except where a verdict by hand says otherwise.

    Modes ``keep_best`` and ``percentile`` still keep their number of images: those kept by hand count, and the best of the
    undecided ones make it up. More images are kept only if more are kept by hand.
    """
    if rule.mode not in ("keep_best", "percentile"):
        return (passed - verdicts.reject) | verdicts.keep
    valid = _valid(scores, rule)
    free = [i for i in valid if i not in verdicts.decided]
    return {*verdicts.keep, *free[: max(0, _number(len(valid), rule) - len(verdicts.keep))]}


def waits(count: int, rule: Rule, verdicts: Verdicts) -> bool:
    """Whether mode ``choose`` waits for a person: of ``count`` images none is kept by hand, and not all are rejected."""
    return rule.mode == "choose" and not verdicts.keep and len(verdicts.reject) < count


def passing_ranks(scores: Tensor, ranks: Tensor, rule: Rule) -> set[int]:
    """Indices of the scores that pass in mode ``reference``, given their ranks (B,), 0 to 1, among calibrated images."""
    limit = rule.percentile / 100
    passed = ranks <= limit if rule.reject == "highest" else ranks >= 1 - limit
    return {i for i in range(len(scores)) if passed[i] and torch.isfinite(scores[i])}


def passing_standing(scores: Tensor, standing: Standing, rule: Rule) -> set[int]:
    """Indices of the scores that pass in mode ``reference``, given their standing among recorded images.

    An image passes if mode ``percentile`` would keep it among all recorded images.
    """
    better = standing.better(rule.reject)
    return {i for i in range(len(scores)) if torch.isfinite(scores[i]) and better[i] * 100 < rule.percentile * standing.count}


def _valid(scores: Tensor, rule: Rule) -> list[int]:
    """Indices of the finite scores, best first."""
    return [i for i in best_first(scores, rule.reject) if torch.isfinite(scores[i])]


def _number(count: int, rule: Rule) -> int:
    """How many of ``count`` images modes ``keep_best`` and ``percentile`` keep; the latter ⌈n·p/100⌉: all at 100, none at 0."""
    return rule.keep if rule.mode == "keep_best" else -int(-count * rule.percentile // 100)
