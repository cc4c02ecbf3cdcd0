"""Seconds of the parts of a measured step that are no model call."""

import time
from collections.abc import Callable
from statistics import median

import torch

from uncertainty.estimators import ESTIMATORS
from uncertainty.noising import variance_exploding
from uncertainty.probes import Probes, probe_noise
from uncertainty.recorder import Recorder
from uncertainty.smoothing import along_image

from .pack_modules import pack

PROBES = 5
REPEATS = 5


def seconds_outside(latent: tuple[int, ...], device: str) -> dict[str, float]:
    """Seconds of each part of a measured step of one latent that is not a model call; medians."""
    estimator = ESTIMATORS["filtered"]
    rng = torch.Generator(device).manual_seed(0)
    drawn = probe_noise(latent, PROBES, 0, 0, 0, [0], orthogonally=True).to(device)
    x, center = (torch.randn(1, *latent, generator=rng, device=device) for _ in range(2))
    sigma = torch.ones(1, device=device)
    noising = variance_exploding(sigma)
    scores = 0.9 * drawn + 0.1 * torch.randn(drawn.shape, generator=rng, device=device)
    probes = Probes(drawn, scores, noising.renoise(x, center, drawn), center, noising, sigma, True, 0.99 * scores)
    maps, errors = estimator.maps(probes, None), estimator.standard_errors(probes, None)
    smoothed = {name: values for name, values in maps.items() if name != "score_variance"}
    measured = pack("uncertainty.maps").UncertaintyMap(
        quantities={name: values[None].cpu() for name, values in maps.items()},
        standard_errors={name: values[None].cpu() for name, values in errors.items()},
        steps=(3,), total_steps=10, sigmas=sigma.cpu(),
    )  # fmt: skip
    preview = pack("nodes.looking.map_preview").UncertaintyMapPreview
    parts: dict[str, Callable[[], object]] = {
        "drawing probes": lambda: probe_noise(latent, PROBES, 0, 0, 0, [0], orthogonally=True).to(device),
        "estimating": lambda: estimator.maps(probes, None),
        "of which smoothing": lambda: along_image(smoothed, probes.denoised, "denoised_variance"),
        "standard errors": lambda: estimator.standard_errors(probes, None),
        "recording": lambda: Recorder("every_step", 1).record(0, maps, errors, 1.0),
        "preview files": lambda: preview.execute(measured, "denoised_variance", -1, "magma", 0.6, "image"),
    }
    return {name: _seconds(part) for name, part in parts.items()}


def _seconds(part: Callable[[], object]) -> float:
    part()
    return median(timed(part) for _ in range(REPEATS))


def timed(run: Callable[[], object]) -> float:
    """Seconds until a run is over, on a graphics card too."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    began = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - began
