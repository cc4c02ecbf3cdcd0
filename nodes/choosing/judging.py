"""The scores that UncertaintyScoreFilter judges by: those of a map, or their mean rank with scores of other programs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...uncertainty.choosing.cut import Rule
from ...uncertainty.choosing.mean_rank import mean_rank
from ...uncertainty.choosing.standing import Comparison, compare, stand
from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.scores import Score, measured
from ...uncertainty.settings import possible
from ...uncertainty.storage.fingerprints import fingerprint, image_digests
from . import ledger_access


@dataclass(frozen=True)
class Judged:
    """The scores of a batch that a rule applies to.

    Attributes:
        name: what the score is, for the report.
        score: the score of each image.
        comparison: the comparison with recorded images, if one was asked for.
        parts: for each image, what its mean rank is made of, in words; None without extra scores.
    """

    name: str
    score: Score
    comparison: Comparison | None
    parts: Sequence[str] | None


def judge(uncertainty: UncertaintyMap, quantity: str, score: Score, rule: Rule, *, with_ledger: bool) -> Judged:
    """Judge a batch by its scores in a quantity or, if its map has extra scores, by the mean rank.

    Args:
        uncertainty: the map of the batch.
        quantity: the quantity or baseline.
        score: scores of the images in it.
        rule: the rule, for its bad end and what it compares with.
        with_ledger: whether to compare with recorded images.
    """
    if uncertainty.extra_scores:
        return _by_mean_rank(uncertainty, quantity, score, rule, with_ledger)
    comparison = None
    if with_ledger:
        prompt = _prompt(uncertainty, rule)
        digests = image_digests(uncertainty)
        recorded = ledger_access.ledger().standing(fingerprint(uncertainty), prompt, quantity, score.value, digests)
        comparison = compare(score.value, recorded, across_prompts=rule.across_prompts)
    return Judged(quantity, score, comparison, None)


def _by_mean_rank(uncertainty: UncertaintyMap, quantity: str, score: Score, rule: Rule, with_ledger: bool) -> Judged:
    """Judge by the mean rank of all scores: among the images of the batch, or among enough recorded ones with the same scores."""
    extra = uncertainty.extra_scores
    names = " and ".join((quantity, *extra))
    values = mean_rank(score.value, [each.badness for each in extra.values()], rule.reject)
    comparison = None
    if with_ledger:
        among = _among_recorded(uncertainty, quantity, score.value, rule)
        ours = among[-uncertainty.images :]
        recorded = stand(ours, among[among.isfinite()].sort().values)
        having = f" that have {' and '.join(extra)}"
        comparison = compare(values, recorded, across_prompts=rule.across_prompts, having=having)
        if comparison.standing is recorded:
            values = ours.to(values)
    combined = Score(values, torch.full_like(values, torch.nan))  # ranks have no standard error
    parts = [
        ", ".join([f"{quantity} {measured(value, error)}", *(f"{name} {each.values[i]:.4g}" for name, each in extra.items())])
        for i, (value, error) in enumerate(zip(*score, strict=True))
    ]
    return Judged(f"mean rank of {names}", combined, comparison, parts)


def _among_recorded(uncertainty: UncertaintyMap, quantity: str, scores: Tensor, rule: Rule) -> Tensor:
    """Mean ranks of the recorded images that have the same scores and then of these images, (N,) float64."""
    extra, ours = uncertainty.extra_scores, image_digests(uncertainty)
    prompt = _prompt(uncertainty, rule)
    digests, table = ledger_access.ledger().extra_scores(fingerprint(uncertainty), prompt, quantity, list(extra))
    others = table[torch.tensor([digest not in ours for digest in digests], dtype=torch.bool)]
    everything = torch.cat([others, torch.stack([scores.double(), *(each.values for each in extra.values())], dim=1)])
    own, *further = everything.T
    badness = [replace(each, values=column).badness for column, each in zip(further, extra.values(), strict=True)]
    return mean_rank(own, badness, rule.reject)


def _prompt(uncertainty: UncertaintyMap, rule: Rule) -> str | None:
    """Digest of the prompt to compare within; None to compare with images of all prompts.

    Raises:
        ValueError: the map does not tell its prompt.
    """
    if rule.across_prompts:
        return None
    prompt: str | None = possible(uncertainty.settings).get("prompt")
    if prompt is None:
        raise ValueError(
            "mode 'reference' compares with images of the same prompt, but this map does not say which prompt it is of: sample "
            "again, choose another mode, or turn across_prompts on."
        )
    return prompt
