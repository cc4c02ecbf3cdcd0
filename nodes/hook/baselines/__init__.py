"""Baselines in a sampling run: one object per baseline and run, which observes every model call. All are listed here."""

from collections.abc import Callable, Sequence

import torch

from ....uncertainty.options import RunSettings
from ....uncertainty.scores import Score
from ..model_call import Baseline
from .bayesdiff_run import BayesDiff
from .cfg_rejection_run import CfgRejection
from .mc_dropout_run import McDropout
from .paper_score_run import PaperScore

RUNS: dict[str, Callable[[RunSettings], Baseline]] = {
    PaperScore.name: PaperScore,
    McDropout.name: McDropout,
    BayesDiff.name: BayesDiff,
    CfgRejection.name: CfgRejection,
}


def baselines_of(settings: RunSettings) -> list[Baseline]:
    """The baselines selected in a run's options."""
    return [RUNS[name](settings) for name in settings.options.baselines]


def scores(baselines: Sequence[Baseline]) -> dict[str, Score]:
    """The measured scores by name; their standard errors are NaN, because they are not known."""
    measured = {baseline.name: baseline.score() for baseline in baselines}
    return {name: Score(value, torch.full_like(value, torch.nan)) for name, value in measured.items() if value is not None}
