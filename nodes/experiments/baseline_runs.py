"""Baselines of a sampling run: one object a baseline and run, told of every call of the model."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...uncertainty.baselines import cfg_rejection, mc_dropout
from ...uncertainty.estimators import estimate, mean_over_elements
from ...uncertainty.maps import Score
from ...uncertainty.options import RunSettings
from ..hook.differentiation import networks
from ..hook.model_call import Baseline, Call, stream
from .bayesdiff_run import BayesDiff

# Keeps the streams of baselines apart from those of the map.
_DROPOUT_STREAM, _PAPER_STREAM = 0x64726F70, 0x70617065


class _Summed:
    """A baseline whose score is a sum over some steps, each counted at its first call."""

    name: str

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        self.steps = range(0)
        self.parts: dict[int, Tensor] = {}

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        self.steps = window

    def observe(self, call: Call) -> None:
        if call.step in self.steps and call.step not in self.parts:
            self.parts[call.step] = self.measure(call).float().cpu()

    def measure(self, call: Call) -> Tensor:
        raise NotImplementedError

    def score(self) -> Tensor | None:
        return torch.stack(list(self.parts.values())).sum(0) if self.parts else None


class PaperScore(_Summed):
    """The paper's own estimate of its own score: the plain variance over independent probes."""

    name = "paper_score"

    def measure(self, call: Call) -> Tensor:
        """As many probes as the map's, drawn apart from them."""
        guided = self.settings.options.score_source == "guided"
        found = estimate(
            call.score,
            call.x,
            call.sigma,
            noising=call.noising,
            samples=self.settings.samples,
            seed=stream(self.settings.seed, _PAPER_STREAM, call.step),
            center=call.noising(call.sigma).noise_prediction(call.x, call.denoised) if guided else None,
            estimator="paper",
            probes_per_call=call.passes_per_call,
        )
        return mean_over_elements(found.quantities["score_variance"], call.mask)


class McDropout(_Summed):
    """Variance of M passes with dropout."""

    name = "mc_dropout"
    layers: tuple[torch.nn.Module, ...] = ()

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Find the layers."""
        super().prepare(guider, schedule, window)
        self.layers = tuple(mc_dropout.dropout_layers(networks(guider)))
        if not self.layers:
            name = type(guider.inner_model.diffusion_model).__name__
            raise ValueError(
                f"mc_dropout needs a model that was trained with dropout: {name} has no active dropout layer. Switch it off."
            )

    def measure(self, call: Call) -> Tensor:
        """M passes at the sampler's own x."""
        with mc_dropout.active(self.layers, stream(self.settings.seed, _DROPOUT_STREAM, call.step), call.x.device):
            variance = mc_dropout.mc_dropout(call.score, call.x, call.sigma, self.settings.samples, call.passes_per_call)
        return mean_over_elements(variance, call.mask)


class CfgRejection(_Summed):
    """Accumulated difference between the prediction with and without the prompt, over the first steps."""

    name = "cfg_rejection"

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Take the first steps, whatever the window is; refuse a run without CFG."""
        self.steps = cfg_rejection.EARLY.steps(len(schedule) - 1)
        if set(guider.conds) != {"positive", "negative"} or guider.cfg == 1:
            raise ValueError(
                "cfg_rejection compares the predictions with and without the prompt: it needs a positive and a negative prompt, "
                "no further one, and cfg other than 1."
            )

    def measure(self, call: Call) -> Tensor:
        """The difference of this step; at a level without an image (a flow model's first) there is none."""
        if [prediction.shape for prediction in call.predictions] != [call.x.shape] * 2:
            raise ValueError(
                "cfg_rejection needs one prediction with and one without the prompt a step, which this guider has not."
            )
        conditional, unconditional = (prediction.float() for prediction in call.predictions)
        try:
            level = call.noising(call.sigma)
        except ValueError:
            return torch.zeros(len(call.x))
        difference = cfg_rejection.squared_difference(conditional, unconditional, level.a / level.b)
        return mean_over_elements(difference, call.mask).sqrt()


BY_NAME: dict[str, Callable[[RunSettings], Baseline]] = {
    "paper_score": PaperScore,
    "mc_dropout": McDropout,
    "bayesdiff": BayesDiff,
    "cfg_rejection": CfgRejection,
}


def baselines_of(settings: RunSettings) -> list[Baseline]:
    """The baselines that a run's options ask for."""
    return [BY_NAME[name](settings) for name in settings.options.baselines]


def scores(baselines: list[Baseline]) -> dict[str, Score]:
    """What they found, by name."""
    found = {baseline.name: baseline.score() for baseline in baselines}
    return {name: Score(value, torch.full_like(value, torch.nan)) for name, value in found.items() if value is not None}
