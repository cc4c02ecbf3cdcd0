"""Measures the uncertainty of one model call within the available memory."""

from collections.abc import Callable

from ...uncertainty.estimation import Estimate, estimate
from ...uncertainty.estimators import ESTIMATORS
from ...uncertainty.options import RunSettings
from ...uncertainty.probes import BothScores, probe_noise
from .model_call import Call
from .out_of_memory import or_one_by_one


def measure(call: Call, settings: RunSettings) -> tuple[Estimate, int]:
    """Run Algorithm 1 for a model call; return the estimate and the number of probes per call of the model."""
    return or_one_by_one(lambda at_once: measure_at_once(call, settings, at_once), call.passes_per_call)


def measure_at_once(
    call: Call, settings: RunSettings, probes_per_call: int, around: Callable[[BothScores], BothScores] = lambda both: both
) -> Estimate:
    """Run Algorithm 1 for a model call.

    Args:
        call: the model call.
        settings: settings of the run.
        probes_per_call: number of probes per call of the model.
        around: wraps the prediction at the probes.
    """
    estimator = settings.options.estimator
    orthogonal = ESTIMATORS[estimator].orthogonal
    noise = probe_noise(
        call.x.shape[1:], settings.samples, settings.seed, call.step, call.number, call.images, orthogonally=orthogonal
    ).to(call.x.device)
    guided = settings.options.score_source == "guided"
    center = call.noising(call.sigma).noise_prediction(call.x, call.denoised) if guided else call.score(call.x, call.sigma)
    return estimate(
        call.score,
        call.x,
        call.sigma,
        noising=call.noising,
        both=around(call.both_scores),
        noise=noise,
        orthogonal=orthogonal,
        center=center,
        estimator=estimator,
        mask=call.mask,
        probes_per_call=probes_per_call,
    )
