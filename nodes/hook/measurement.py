"""Measures the uncertainty of one model call within the available memory."""

import logging

import comfy.model_management
import torch
from torch import Tensor

from ...uncertainty.estimation import Estimate, estimate
from ...uncertainty.estimators import ESTIMATORS
from ...uncertainty.options import RunSettings
from ...uncertainty.probes import probe_noise
from .model_call import Call

OutOfMemory = torch.cuda.OutOfMemoryError

log = logging.getLogger(__name__)


def measure(call: Call, settings: RunSettings) -> tuple[Estimate, int]:
    """Run Algorithm 1 for a model call; return the estimate and the number of probes per call of the model."""
    orthogonal = ESTIMATORS[settings.options.estimator].orthogonal
    noise = probe_noise(
        call.x.shape[1:], settings.samples, settings.seed, call.step, call.number, call.images, orthogonally=orthogonal
    ).to(call.x.device)
    guided = settings.options.score_source == "guided"
    center = call.noising(call.sigma).noise_prediction(call.x, call.denoised) if guided else call.score(call.x, call.sigma)
    try:
        return _estimate(call, settings, noise, center, call.passes_per_call), call.passes_per_call
    except OutOfMemory:
        if call.passes_per_call == 1:
            raise
        log.warning(
            "measuring uncertainty ran out of memory with %d probes per call and continues with one at a time.",
            call.passes_per_call,
        )
    # Outside the handler, because the exception keeps the failed call's activations alive.
    comfy.model_management.soft_empty_cache()
    return _estimate(call, settings, noise, center, 1), 1


def _estimate(call: Call, settings: RunSettings, noise: Tensor, center: Tensor, probes_per_call: int) -> Estimate:
    estimator = settings.options.estimator
    return estimate(
        call.score,
        call.x,
        call.sigma,
        noising=call.noising,
        both=call.both_scores,
        noise=noise,
        orthogonal=ESTIMATORS[estimator].orthogonal,
        center=center,
        estimator=estimator,
        mask=call.mask,
        probes_per_call=probes_per_call,
    )
