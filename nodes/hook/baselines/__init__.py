"""Baselines in a sampling run: one object per baseline and run, which observes every model call. All are listed here."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ....uncertainty.options import RunSettings
from ....uncertainty.scores import Score
from ..model_call import BaselineRun
from .bayesdiff_run import BayesDiff
from .cfg_rejection_run import CfgRejection, FreeCfgRejection
from .mc_dropout_run import McDropout
from .paper_score_run import PaperScore
from .prompt_information_run import PromptInformation
from .score_acceleration_run import ScoreAcceleration

RUNS: dict[str, Callable[[RunSettings], BaselineRun]] = {
    PaperScore.name: PaperScore,
    McDropout.name: McDropout,
    BayesDiff.name: BayesDiff,
    CfgRejection.name: CfgRejection,
    ScoreAcceleration.name: ScoreAcceleration,
    PromptInformation.name: PromptInformation,
}
# Those that evaluate nothing.
FREE = (CfgRejection.name, ScoreAcceleration.name)


def baselines_of(settings: RunSettings) -> list[BaselineRun]:
    """The baselines selected in a run's options, and without probes all that cost nothing."""
    asked = settings.options.baselines
    if settings.samples == 0:
        _check_free(asked)
    measured = [RUNS[name](settings) for name in asked]
    if settings.samples == 0 and CfgRejection.name not in asked:
        measured.append(FreeCfgRejection(settings))
    return measured


def _check_free(names: Sequence[str]) -> None:
    """Raise ValueError for a baseline that evaluates the model, if samples is 0."""
    for name in names:
        if name not in FREE:
            raise ValueError(f"{name} evaluates the model, but samples is 0: set samples to at least 2, or leave {name} out.")


def scores(baselines: Sequence[BaselineRun], parts: int) -> list[dict[str, Score]]:
    """The measured scores of each part by name; their standard errors are NaN, because they are not known."""
    found = {
        baseline.name: [Score(value, torch.full_like(value, torch.nan)) for value in baseline.scores()] for baseline in baselines
    }
    return [{name: values[part] for name, values in found.items() if values} for part in range(parts)]


def maps(baselines: Sequence[BaselineRun]) -> dict[str, Tensor]:
    """The measured maps by name, packed like the latents."""
    measured = {baseline.name: baseline.map() for baseline in baselines}
    return {name: values.float().cpu() for name, values in measured.items() if values is not None}
