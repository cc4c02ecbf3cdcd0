"""Every sampler with every scheduler on data with a closed-form solution: the image is unchanged, the window is complete."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from closed_forms import Mixture, gaussian, gaussian_quantities, random_covariance, two_component_score_variance
from real_models import Loaded, Sampling
from solved_model import DIM, PARAMETERISATIONS, solved

STEPS = 6
WINDOW = {"window_start": 0.3, "window_end": 1.0}
# Without the last steps, where the score variance of a flow model is proportional to σ⁴ and below float32 rounding.
CLEAR = {"window_start": 0.3, "window_end": 0.8}
# These choose their own noise levels between the ends of the schedule.
OWN_LEVELS = ("dpm_fast", "dpm_adaptive")
# The two of the paper: first order, and second order of the DPM family.
PAPER = [("ddim", "ddim_uniform"), ("dpm_2", "normal")]


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two_bumps(apart: float = 0.3) -> Mixture:
    """Two isotropic components of equal width: the score is nonlinear between them, so the uncertainty has a gradient."""
    covariance = 0.5**2 * torch.eye(DIM, dtype=torch.float64)
    means, weights = apart * normal(2, DIM, seed=1), torch.tensor([0.6, 0.4], dtype=torch.float64)
    return Mixture(means, torch.stack([covariance, covariance]), weights)


@pytest.fixture(params=PARAMETERISATIONS)
def parameterisation(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def mixture(parameterisation: str) -> Loaded:
    return solved(two_bumps(), parameterisation)


def every_pair() -> list[tuple[str, str]]:
    """All samplers with all schedulers of the running ComfyUI."""
    from comfy.samplers import KSampler

    return [(sampler, scheduler) for sampler in KSampler.SAMPLERS for scheduler in KSampler.SCHEDULERS]


def watched(loaded: Loaded) -> tuple[Any, list[float], list[torch.Tensor]]:
    """A clone of the model that records noise level and input of the sampler's calls, but not of the probes."""
    levels: list[float] = []
    inputs: list[torch.Tensor] = []

    def note(args: dict) -> torch.Tensor:
        levels.append(float(args["sigma"].max()))
        inputs.append(args["input"].clone())
        return args["denoised"]

    model = loaded.model.clone()
    model.set_model_sampler_post_cfg_function(note)
    return model, levels, inputs


@pytest.mark.filterwarnings("ignore")  # some samplers warn that they copy tensors or round Brownian intervals
def test_measuring_leaves_every_sampler_and_scheduler_alone(
    mixture: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    wrong = []
    window = pack("uncertainty.window").Window(*WINDOW.values())
    for sampler, scheduler in every_pair():
        run = {"batch": 1, "steps": STEPS, "sampler_name": sampler, "scheduler": scheduler}
        latent, found, _ = sampling.node(mixture, samples=2, **WINDOW, **run)
        same = torch.equal(latent["samples"], sampling.plain(mixture, **run))
        finite = torch.isfinite(latent["samples"]).all() and all(torch.isfinite(q).all() for q in found.quantities.values())
        steps = tuple(window.steps(found.total_steps))  # ddim_uniform may take one step more than requested
        recorded = set(found.steps) <= set(steps) if sampler in OWN_LEVELS else found.steps == steps
        if not (same and finite and recorded):
            wrong.append((sampler, scheduler, same, bool(finite), found.steps))
    assert not wrong, wrong


@pytest.mark.filterwarnings("ignore")
def test_every_call_in_the_window_is_guided(
    mixture: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, window, guided_step = pack("nodes.hook.sampling_hook"), pack("uncertainty.window"), pack("nodes.hook.guided_step")
    update, guided, schedules = guided_step.update, [], []
    sample = hook.UncertaintyRun._sample

    def count(*args: Any) -> Any:
        updated = update(*args)
        if updated.gradient is not None:
            guided.append(1)
        return updated

    def note_schedule(run: Any, executor: Any, guider: Any, sigmas: torch.Tensor, *rest: Any) -> torch.Tensor:
        schedules.append(sigmas)
        return sample(run, executor, guider, sigmas, *rest)

    monkeypatch.setattr(guided_step, "update", count)
    monkeypatch.setattr(hook.UncertaintyRun, "_sample", note_schedule)
    # Without smoothing: at the lowest levels the smoothed map of such small images is constant, so no element is above the rest.
    options = pack("uncertainty.options").Options(estimator="control_variate")
    wrong, several = [], set()
    for sampler, scheduler in every_pair():
        if scheduler not in ("sgm_uniform", "karras"):
            continue
        guided.clear()
        model, levels, _ = watched(mixture)
        run = {"model": model, "batch": 1, "steps": STEPS, "sampler_name": sampler, "scheduler": scheduler}
        latent, _, _ = sampling.node(mixture, samples=2, strength=1.0, options=options, **WINDOW, **run)
        schedule = schedules[-1]
        steps = window.Window(*WINDOW.values()).steps(len(schedule) - 1)
        inside = [level for level in levels if window.step_of(level, schedule) in steps]
        if len(inside) > len(steps):
            several.add(sampler)
        # Karras' levels end so low that guidance has no effect on these images.
        moved = scheduler == "karras" or not torch.equal(latent["samples"], sampling.plain(mixture, **run))
        if len(guided) != len(inside) or not guided or not moved or not torch.isfinite(latent["samples"]).all():
            wrong.append((sampler, scheduler, len(guided), len(inside), moved))
    assert not wrong, wrong
    # Otherwise the count above would prove little.
    assert {"heun", "dpm_2", "dpmpp_2s_ancestral", "dpmpp_sde", "seeds_2", "seeds_3", "sa_solver_pece"} <= several


@pytest.mark.parametrize(("sampler", "scheduler"), PAPER)
def test_maps_along_the_trajectory_match_the_closed_form(
    sampler: str, scheduler: str, parameterisation: str, sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    """Maps of Gaussian data are independent of the latent: 64 images are 64 draws. Chance exceeds five errors once in 10⁶."""
    covariance = random_covariance(DIM, 5)
    loaded = solved(gaussian(normal(DIM, seed=2), covariance), parameterisation)
    for estimator in ("paper", "control_variate"):
        _, found, _ = sampling.node(
            loaded, batch=64, steps=12, samples=32, sampler_name=sampler, scheduler=scheduler, **CLEAR,
            options=pack("uncertainty.options").Options(estimator=estimator),
        )  # fmt: skip
        assert found.steps == tuple(pack("uncertainty.window").Window(*CLEAR.values()).steps(found.total_steps))
        for row, sigma in enumerate(found.sigmas.tolist()):
            a = 1 - sigma if parameterisation == "flow" else 1.0
            for name, expected in gaussian_quantities(covariance, a, sigma, torch.zeros(DIM, dtype=torch.float64)).items():
                if name == "denoising_loss":  # the only one that depends on the latent
                    continue
                drawn = found.quantity(name)[row].double().flatten(1)
                error = drawn.std(0) / len(drawn) ** 0.5
                assert ((drawn.mean(0) - expected).abs() < 5 * error).all(), (estimator, name, sigma)
        # The bound is narrow enough to detect a wrong coefficient.
        assert error.max() < 0.05 * expected.max()


@pytest.mark.parametrize(("sampler", "scheduler"), PAPER)
def test_maps_of_a_mixture_match_quadrature(
    sampler: str, scheduler: str, parameterisation: str, sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    data = two_bumps(apart=0.6)
    loaded = solved(data, parameterisation)
    model, levels, inputs = watched(loaded)
    _, found, _ = sampling.node(
        loaded, model=model, batch=16, steps=6, samples=64, sampler_name=sampler, scheduler=scheduler, **CLEAR,
        options=pack("uncertainty.options").Options(estimator="paper"),
    )  # fmt: skip
    flow = parameterisation == "flow"
    for row, sigma in enumerate(found.sigmas.tolist()):
        x = inputs[levels.index(sigma)].double()
        scale = 1 - sigma if flow else 1.0
        expected = torch.stack([two_component_score_variance(data, z, sigma / scale, 0.5) for z in x / scale])
        ratio = found.values[row].double().flatten(1) / expected
        error = ratio.std(0) / len(ratio) ** 0.5
        assert ((ratio.mean(0) - 1).abs() < 5 * error).all(), sigma
        assert error.max() < 0.1


def distance(one: dict, other: torch.Tensor) -> float:
    return float((one["samples"] - other).abs().max())


@pytest.mark.parametrize(("sampler", "scheduler"), PAPER)
def test_guidance_does_not_move_gaussian_data(
    sampler: str, scheduler: str, parameterisation: str, mixture: Loaded, sampling: Sampling
) -> None:
    """The uncertainty of Gaussian data is the same everywhere, that of a mixture is not."""
    plain = gaussian(normal(DIM, seed=2), random_covariance(DIM, 5))
    run: dict[str, Any] = {"steps": 12, "sampler_name": sampler, "scheduler": scheduler}
    guide: dict[str, Any] = {"strength": 1.0, "percentile": 0.0, **CLEAR}
    gaussian_model = solved(plain, parameterisation)
    guided, _, _ = sampling.node(gaussian_model, **run, **guide)
    assert distance(guided, sampling.plain(gaussian_model, **run)) < 1e-4
    guided, _, _ = sampling.node(mixture, **run, **guide)
    assert distance(guided, sampling.plain(mixture, **run)) > 1e-2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sampler", OWN_LEVELS)
def test_samplers_with_levels_of_their_own_record_what_they_visit(sampler: str, mixture: Loaded, sampling: Sampling) -> None:
    """Their calls never reach the last noise level of the schedule, so its last step cannot be recorded."""
    _, found, _ = sampling.node(mixture, steps=20, sampler_name=sampler, window_start=0.1, window_end=1.0)
    assert 0 < len(found.steps) < 18
    assert 19 not in found.steps
