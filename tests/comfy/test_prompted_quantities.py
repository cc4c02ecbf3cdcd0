"""What is measured with the prediction under the prompt alone, whatever CFG and guiders make of it."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import test_custom_sampler
import torch
from test_custom_sampler import cfg, custom, dual, node, perpendicular  # noqa: F401 (fixtures)

from closed_forms import gaussian, gaussian_quantities, random_covariance
from real_models import Loaded, Sampling
from solved_model import DIM, PARAMETERISATIONS, prompt, solved_with_prompts

WINDOW = {"window_start": 0.4, "window_end": 0.8}


@pytest.fixture(params=PARAMETERISATIONS)
def prompted(request: pytest.FixtureRequest) -> tuple[Loaded, torch.Tensor, bool]:
    """A model of Gaussian data, twenty times as wide without the prompt; the covariance under it; whether the model is a flow."""
    covariance = random_covariance(DIM, 5)
    means = torch.randn(3, DIM, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    data = [gaussian(0.2 * mean, scale * covariance) for mean, scale in zip(means, (6.0, 0.3, 2.0), strict=True)]
    return solved_with_prompts(data, request.param), 0.3 * covariance, request.param == "flow"


def posterior(covariance: torch.Tensor, sigma: float, flow: bool) -> torch.Tensor:
    a = 1 - sigma if flow else 1.0
    return gaussian_quantities(covariance, a, sigma, torch.zeros(DIM, dtype=torch.float64))["posterior_variance"]


def check(found: Any, covariance: torch.Tensor, flow: bool) -> None:
    """Each image is an independent draw of the probes. Chance exceeds five errors once in 10⁶."""
    assert len(found.steps) > 1
    for row, sigma in enumerate(found.sigmas.tolist()):
        drawn = found.quantity("posterior_variance")[row].double().flatten(1)
        error = drawn.std(0) / len(drawn) ** 0.5
        assert ((drawn.mean(0) - posterior(covariance, sigma, flow)).abs() < 5 * error).all(), sigma


@pytest.mark.parametrize("scale", [1.0, 3.0, 7.0])
def test_the_posterior_variance_is_that_under_the_prompt(
    scale: float, prompted: tuple[Loaded, torch.Tensor, bool], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    loaded, covariance, flow = prompted
    _, found, _ = sampling.node(
        loaded, batch=64, steps=10, samples=16, cfg=scale, **WINDOW,
        options=pack("uncertainty.options").Options(estimator="control_variate"),
    )  # fmt: skip
    check(found, covariance, flow)
    assert "prompted_by" not in found.settings


GUIDERS = {"cfg": cfg, "dual": dual("regular"), "dual nested": dual("nested"), "perpendicular": perpendicular}


@pytest.mark.parametrize("guider", GUIDERS)
def test_guiders_of_several_prompts_give_it_too(
    guider: str,
    prompted: tuple[Loaded, torch.Tensor, bool],
    node: Callable,  # noqa: F811
    pack: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded, covariance, flow = prompted
    monkeypatch.setattr(test_custom_sampler, "conditioning", lambda *_, **__: prompt(2.0))  # one that this network takes
    options = pack("uncertainty.options").Options(estimator="control_variate")
    _, _, found, _ = node(GUIDERS[guider](loaded), custom(loaded, steps=10, batch=64), samples=16, **WINDOW, options=options)
    check(found, covariance, flow)


def test_a_prompt_for_each_half_of_the_image_is_measured_where_it_applies(
    prompted: tuple[Loaded, torch.Tensor, bool], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    """The positive prompt is one prompt on the left and another on the right; their prediction is put together first."""
    loaded, covariance, flow = prompted
    left = torch.zeros(1, 2, 2)
    left[..., :1] = 1
    positive = [
        [values[0][0], {"mask": mask, "mask_strength": 1.0, "set_area_to_bounds": False}]
        for values, mask in ((prompt(1.0), left), (prompt(0.0), 1 - left))
    ]
    _, found, _ = sampling.node(
        loaded, batch=64, steps=10, samples=16, positive=positive, **WINDOW,
        options=pack("uncertainty.options").Options(estimator="control_variate"),
    )  # fmt: skip
    for row, sigma in enumerate(found.sigmas.tolist()):
        drawn = found.quantity("posterior_variance")[row].double()
        near, far = (posterior(scale * covariance, sigma, flow).reshape(drawn.shape[1:]) for scale in (1, 20))
        for values, expected in ((drawn[..., :1], near[..., :1]), (drawn[..., 1:], far[..., 1:])):
            error = values.std(0) / len(values) ** 0.5
            assert ((values.mean(0) - expected).abs() < 5 * error).all(), sigma


def test_a_guider_without_such_a_prediction_is_said_once(
    loaded_models: dict[str, Loaded],
    node: Callable,  # noqa: F811
    caplog: Any,
) -> None:
    """It evaluates its prompt twice, so that neither prediction is the prompt's own."""
    import comfy.samplers

    class Twice(comfy.samplers.CFGGuider):
        def predict_noise(self, x: Any, timestep: Any, model_options: dict = {}, seed: Any = None) -> Any:  # noqa: B006
            made = [
                comfy.samplers.calc_cond_batch(self.inner_model, [self.conds["positive"]], x, timestep, model_options)[0]
                for _ in range(2)
            ]
            return sum(made) / 2

    loaded = loaded_models["sd15"]
    guider = Twice(loaded.model)
    guider.set_conds(loaded.positive, loaded.negative)
    _, _, found, _ = node(guider, custom(loaded))
    assert found.settings["prompted_by"] == "guided"
    assert caplog.text.count("are measured with the guided prediction, because Twice") == 1
