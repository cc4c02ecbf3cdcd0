"""Measures the uncertainty of one model call within the available memory."""

import logging
from collections.abc import Callable

import comfy.model_management

from ...uncertainty.estimation import Estimate, estimate
from ...uncertainty.estimators import ESTIMATORS
from ...uncertainty.options import RunSettings
from ...uncertainty.probes import BothScores, probe_noise
from .model_call import Call
from .out_of_memory import OutOfMemory, named_out_of_memory

log = logging.getLogger(__name__)


def measure(call: Call, settings: RunSettings) -> tuple[Estimate, int]:
    """Run Algorithm 1 for a model call; return the estimate and the number of probes per call of the model."""
    try:
        return measure_at_once(call, settings, call.passes_per_call), call.passes_per_call
    except OutOfMemory:
        if call.passes_per_call == 1:
            raise
        log.warning(
            "measuring uncertainty ran out of memory with %d probes per call and continues with one at a time.",
            call.passes_per_call,
        )
    # Outside the handler, because the exception keeps the failed call's activations alive.
    comfy.model_management.soft_empty_cache()
    return measure_at_once(call, settings, 1), 1


@named_out_of_memory()
def measure_at_once(
    call: Call, settings: RunSettings, probes_per_call: int, around: Callable[[BothScores], BothScores] = lambda both: both
) -> Estimate:
    """Run Algorithm 1 for a model call.

    Args:
        call: the model call.
        settings: settings of the run.
        probes_per_call: number of probes per call of the model.
        around: wraps the prediction at the probes.

    Raises:
        OutOfMemory: there is too little memory for this.
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
