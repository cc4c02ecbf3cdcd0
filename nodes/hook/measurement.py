"""Measures the uncertainty of one model call within the available memory."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from ...uncertainty.estimation import Estimate, estimate
from ...uncertainty.estimators import ESTIMATORS
from ...uncertainty.options import RunSettings
from ...uncertainty.probes import BothScores, packed_noise
from .model_call import Call
from .out_of_memory import or_one_by_one
from .transfer import sent


def measure(call: Call, settings: RunSettings) -> tuple[Estimate, int]:
    """Run Algorithm 1 for a model call; return the estimate and the number of probes per call of the model."""
    noise, center = _start(call, settings)
    run = partial(_estimate, call, settings, noise, center, call.both_scores)
    return or_one_by_one(run, call.probes_per_call)


def measure_around(call: Call, settings: RunSettings, around: Callable[[BothScores], BothScores]) -> Estimate:
    """Run Algorithm 1 for a model call, with the prediction at the probes wrapped by ``around``."""
    return _estimate(call, settings, *_start(call, settings), around(call.both_scores), call.probes_per_call)


def _start(call: Call, settings: RunSettings) -> tuple[Tensor, Tensor]:
    """The probe noise, (M, B, C, *spatial), and the noise prediction at x, (B, C, *spatial); both packed like x."""
    orthogonal = ESTIMATORS[settings.options.estimator].orthogonal
    drawn = packed_noise(
        call.parts, settings.samples, settings.seed, call.step, call.number, call.images, orthogonally=orthogonal
    )
    noise = sent(drawn, call.x.device)
    guided = settings.options.score_source == "guided"
    center = call.level.noise_prediction(call.x, call.denoised) if guided else call.score(call.x, call.sigma)
    return noise, center


def _estimate(
    call: Call, settings: RunSettings, noise: Tensor, center: Tensor, both: BothScores, probes_per_call: int
) -> Estimate:
    estimator = settings.options.estimator
    return estimate(
        call.score,
        call.x,
        call.sigma,
        noising=lambda sigma: call.level,
        both=both,
        noise=noise,
        orthogonal=ESTIMATORS[estimator].orthogonal,
        center=center,
        estimator=estimator,
        mask=call.mask,
        probes_per_call=probes_per_call,
        parts=call.parts,
    )
