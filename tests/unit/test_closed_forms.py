"""The estimators, the gradient and the guidance against distributions solved on paper."""

from collections.abc import Callable

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

import uncertainty
from closed_forms import Mixture, gaussian, gaussian_quantities, random_covariance, two_component_score_variance
from joint_graph import joint_gradient
from uncertainty import rectified_flow, variance_exploding
from uncertainty.estimators import centered
from uncertainty.gradients import GUIDED_QUANTITIES, exact_gradient, forward_only_gradient
from uncertainty.probes import Probes, orthogonal
from uncertainty.quantities import PROBED
from uncertainty.quantities.drift import Drift

SHAPE = (2, 2, 3)
DIM = 12
FAMILIES = {"exploding": (variance_exploding, "noise_prediction"), "flow": (rectified_flow, "flow_noise_prediction")}


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def three_bumps() -> Mixture:
    """Three well separated components of different shape."""
    covariances = torch.stack([0.2 * random_covariance(DIM, seed) for seed in (1, 2, 3)])
    return Mixture(0.5 * normal(3, DIM, seed=4), covariances, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))


@pytest.mark.parametrize("sigma", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("family", FAMILIES)
def test_gaussian_map_lies_within_its_chi_square_bounds(family: str, sigma: float) -> None:
    noising, name = FAMILIES[family]
    covariance = random_covariance(DIM, 0)
    data = gaussian(normal(DIM, seed=1), covariance)
    level = torch.tensor(sigma, dtype=torch.float64)
    coefficients = noising(level)
    a, b = float(coefficients.a), float(coefficients.b)
    expected = gaussian_quantities(covariance, a, b, torch.zeros(DIM, dtype=torch.float64))["score_variance"]
    samples = 40
    x = normal(3, *SHAPE, seed=2)
    noise = normal(samples, 3, *SHAPE, seed=3)
    found = uncertainty.estimate(getattr(data, name), x, level, noising=noising, noise=noise, estimator="paper")
    ratio = found.quantities["score_variance"].flatten(1) / expected * (samples - 1)
    # 36 elements: a false alarm once in ten million runs, were the noise not fixed.
    low, high = chi2.ppf(1e-9, samples - 1), chi2.ppf(1 - 1e-9, samples - 1)
    assert (ratio > low).all() and (ratio < high).all()
    assert abs(ratio.mean() / (samples - 1) - 1) < 0.15


@pytest.mark.parametrize("estimator", ["paper", "control_variate"])
@pytest.mark.parametrize("family", FAMILIES)
def test_all_quantities_converge_to_their_closed_form(family: str, estimator: str) -> None:
    noising, name = FAMILIES[family]
    covariance = random_covariance(DIM, 5)
    data = gaussian(torch.zeros(DIM, dtype=torch.float64), covariance)
    level = torch.tensor(0.4, dtype=torch.float64)
    coefficients = noising(level)
    a, b = float(coefficients.a), float(coefficients.b)
    x = normal(1, *SHAPE, seed=7)
    expected = gaussian_quantities(covariance, a, b, data.denoised(x, a, b).flatten())
    noise = normal(20_000, 1, *SHAPE, seed=6)
    found = uncertainty.estimate(getattr(data, name), x, level, noising=noising, noise=noise, estimator=estimator)
    for quantity in PROBED:
        torch.testing.assert_close(found.quantities[quantity].flatten(), expected[quantity], rtol=0.05, atol=0.03)


def test_control_variate_is_unbiased_and_less_noisy() -> None:
    data = three_bumps()
    level = torch.tensor(1.2, dtype=torch.float64)
    x = normal(1, *SHAPE, seed=8)
    # Each image of the batch is one independent draw.
    noise = normal(5, 2000, *SHAPE, seed=9)
    plain, controlled = (
        uncertainty.estimate(data.noise_prediction, x.expand(2000, *SHAPE), level, noise=noise, estimator=estimator).quantities[
            "score_variance"
        ]
        for estimator in ("paper", "control_variate")
    )
    error = ((plain - controlled).var(0) / len(plain)).sqrt()
    assert ((plain - controlled).mean(0).abs() < 5 * error).all()
    assert controlled.var(0).mean() < 0.5 * plain.var(0).mean()


def orthogonal_noise(samples: int, draws: int, seed: int) -> Tensor:
    return torch.stack([orthogonal(noise) for noise in normal(draws, samples, *SHAPE, seed=seed)], 1)


@pytest.mark.parametrize("samples", [3, 5, 9])
@pytest.mark.parametrize("family", FAMILIES)
def test_orthogonal_probes_are_unbiased_on_gaussian_data(family: str, samples: int) -> None:
    noising, name = FAMILIES[family]
    covariance = random_covariance(DIM, 5)
    data = gaussian(torch.zeros(DIM, dtype=torch.float64), covariance)
    level = torch.tensor(0.4, dtype=torch.float64)
    coefficients = noising(level)
    a, b = float(coefficients.a), float(coefficients.b)
    x = normal(1, *SHAPE, seed=7)
    expected = gaussian_quantities(covariance, a, b, data.denoised(x, a, b).flatten())
    draws = 3000
    found = uncertainty.estimate(
        getattr(data, name), x.expand(draws, *SHAPE), level, noising=noising,
        noise=orthogonal_noise(samples, draws, seed=28), orthogonal=True, estimator="control_variate",
    )  # fmt: skip
    for quantity in PROBED:
        values = found.quantities[quantity].flatten(1)
        # Five standard errors of the mean over the draws.
        assert ((values.mean(0) - expected[quantity]).abs() < 5 * values.std(0) / draws**0.5).all(), quantity


@pytest.mark.parametrize("samples", [5, 9])
def test_orthogonal_probes_err_by_less_than_a_part_in_m_elsewhere(samples: int) -> None:
    """Of a variance that is not linear in the noise they miss (M - 1)/M at most."""
    data = three_bumps()
    level = torch.tensor(0.6, dtype=torch.float64)
    x = data.means.mean(0).reshape(1, *SHAPE)
    draws = 4000
    limit = uncertainty.estimate(
        data.noise_prediction, x, level, noise=normal(50_000, 1, *SHAPE, seed=29), estimator="control_variate"
    ).quantities
    found = uncertainty.estimate(
        data.noise_prediction, x.expand(draws, *SHAPE), level, noise=orthogonal_noise(samples, draws, seed=30), orthogonal=True,
        estimator="control_variate",
    ).quantities  # fmt: skip
    for quantity in ("score_variance", "denoised_variance", "denoising_loss"):
        error = found[quantity].mean(0) - limit[quantity][0]
        statistical = 5 * found[quantity].std(0) / draws**0.5 + 0.03 * limit[quantity][0]
        assert (error.abs() < limit[quantity][0] / samples + statistical).all(), quantity


def test_orthogonal_probes_are_less_noisy() -> None:
    data = three_bumps()
    level = torch.tensor(1.2, dtype=torch.float64)
    draws = 2000
    x = normal(1, *SHAPE, seed=8).expand(draws, *SHAPE)
    spread = []
    for noise, special in ((normal(5, draws, *SHAPE, seed=9), False), (orthogonal_noise(5, draws, seed=31), True)):
        found = uncertainty.estimate(
            data.noise_prediction, x, level, noise=noise, orthogonal=special, estimator="control_variate"
        ).quantities
        spread.append({name: float(value.var(0).mean()) for name, value in found.items()})
    assert all(spread[1][name] < 0.8 * spread[0][name] for name in PROBED), spread


@pytest.mark.parametrize("quantity", GUIDED_QUANTITIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_guidance_of_gaussian_data_is_zero(family: str, quantity: str) -> None:
    noising, name = FAMILIES[family]
    data = gaussian(normal(DIM, seed=9), random_covariance(DIM, 10))
    level = torch.tensor(0.5, dtype=torch.float64)
    x = normal(2, *SHAPE, seed=11)
    noise = normal(5, 2, *SHAPE, seed=12)
    guided = uncertainty.guide(getattr(data, name), x, level, noising=noising, noise=noise, percentile=0.0, quantity=quantity)
    probes = guided.estimate.probes
    size = (probes.scores - probes.scores.mean(0)).norm()
    assert guided.gradient.norm() < 1e-12 * size
    torch.testing.assert_close(guided.noise_prediction, probes.center, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.5])
def test_two_component_map_matches_quadrature(sigma: float) -> None:
    spread = 0.5
    identity = spread**2 * torch.eye(DIM, dtype=torch.float64)
    means = normal(2, DIM, seed=13)
    data = Mixture(means, torch.stack([identity, identity]), torch.tensor([0.6, 0.4], dtype=torch.float64))
    x = (means.mean(0) + 0.1 * normal(DIM, seed=14)).reshape(SHAPE)
    expected = two_component_score_variance(data, x, sigma, spread)
    noise = normal(20_000, 1, *SHAPE, seed=15)
    found = uncertainty.estimate(
        data.noise_prediction, x[None], torch.tensor(sigma, dtype=torch.float64), noise=noise, estimator="paper"
    )
    # The sampling error of a variance over 20,000 draws is about one per cent.
    torch.testing.assert_close(found.quantities["score_variance"].flatten(), expected, rtol=0.06, atol=0)


@pytest.mark.parametrize("quantity", GUIDED_QUANTITIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_matches_central_differences(family: str, quantity: str) -> None:
    noising, name = FAMILIES[family]
    data = three_bumps()
    score = getattr(data, name)
    level = torch.tensor([0.6], dtype=torch.float64)
    # Between the components, where the score bends.
    x = noising(level[0]).a * data.means.mean(0).reshape(1, *SHAPE)
    noise = normal(4, 1, *SHAPE, seed=17)
    center = score(x, level)

    def total(prediction: Tensor) -> Tensor:
        found = uncertainty.estimate(score, x, level, noising=noising, noise=noise, center=prediction, estimator="paper")
        return found.quantities[quantity].sum()

    probes = uncertainty.estimate(score, x, level, noising=noising, noise=noise, center=center).probes
    step = 1e-5
    expected = torch.zeros(DIM, dtype=torch.float64)
    for i in range(DIM):
        offset = torch.zeros(DIM, dtype=torch.float64)
        offset[i] = step
        offset = offset.reshape(1, *SHAPE)
        expected[i] = (total(center + offset) - total(center - offset)) / (2 * step)
    found = exact_gradient(score, probes, quantity=quantity).flatten()
    assert found.abs().max() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("quantity", GUIDED_QUANTITIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_forward_only_gradient_is_exact_where_the_jacobian_is_symmetric(family: str, quantity: str) -> None:
    noising, name = FAMILIES[family]
    data = three_bumps()
    score = getattr(data, name)
    level = torch.tensor([0.6, 0.6], dtype=torch.float64)
    x = noising(level[0]).a * data.means.mean(0).reshape(1, *SHAPE) + 0.1 * normal(2, *SHAPE, seed=26)
    probes = uncertainty.estimate(score, x, level, noising=noising, noise=normal(4, 2, *SHAPE, seed=27)).probes
    exact = exact_gradient(score, probes, quantity=quantity)
    rough = [forward_only_gradient(score, probes, step=step, quantity=quantity) for step in (0.2, 0.1, 0.05)]
    errors = [(gradient - exact).norm() / exact.norm() for gradient in rough]
    assert errors[2] < 0.01, errors
    # Central differences: half the step, a quarter of the error.
    assert 3.5 < errors[0] / errors[1] < 4.5 and 3.5 < errors[1] / errors[2] < 4.5, errors
    torch.testing.assert_close(forward_only_gradient(score, probes, probes_per_call=1), forward_only_gradient(score, probes))


@pytest.mark.parametrize("quantity", GUIDED_QUANTITIES)
def test_gradient_is_autograds_through_all_probes(quantity: str) -> None:
    """On a network whose Jacobian is not symmetric, with orthogonal probes and a different noise level for each image."""
    rng = torch.Generator().manual_seed(33)
    inside, outside = (torch.randn(DIM, DIM, generator=rng, dtype=torch.float64) for _ in range(2))

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        hidden = torch.tanh(x.flatten(1) @ inside + sigma[:, None])
        return (hidden @ outside).reshape(x.shape)

    x, noise = normal(2, *SHAPE, seed=34), orthogonal(normal(5, 2, *SHAPE, seed=35))
    level = torch.tensor([0.3, 0.7], dtype=torch.float64)
    probes = uncertainty.estimate(score, x, level, noising=rectified_flow, noise=noise, orthogonal=True).probes
    expected = joint_gradient(score, probes, quantity)
    assert expected.norm() > 0.1
    torch.testing.assert_close(exact_gradient(score, probes, 2, quantity), expected)


def test_other_quantities_cannot_guide() -> None:
    x, level = normal(1, *SHAPE, seed=36), torch.tensor(0.5, dtype=torch.float64)
    with pytest.raises(ValueError, match="guided_quantity must be one of score_variance, denoised_variance, got 'posterior_vari"):
        uncertainty.guide(three_bumps().noise_prediction, x, level, quantity="posterior_variance")


@pytest.mark.parametrize("quantity", GUIDED_QUANTITIES)
@pytest.mark.parametrize("sigma", [0.2, 0.5, 0.8])
def test_flow_and_exploding_maps_agree(sigma: float, quantity: str) -> None:
    data = three_bumps()
    x = normal(2, *SHAPE, seed=18)
    noise = normal(5, 2, *SHAPE, seed=19)
    level = torch.tensor(sigma, dtype=torch.float64)
    flow = uncertainty.guide(data.flow_noise_prediction, x, level, noising=rectified_flow, noise=noise, quantity=quantity)
    exploding = uncertainty.guide(data.noise_prediction, x / (1 - level), level / (1 - level), noise=noise, quantity=quantity)
    for name in PROBED:
        torch.testing.assert_close(flow.estimate.quantities[name], exploding.estimate.quantities[name])
    torch.testing.assert_close(flow.gradient, exploding.gradient)
    assert torch.equal(flow.mask, exploding.mask)
    torch.testing.assert_close(flow.denoised, exploding.denoised)


INDEPENDENT = [(name, False) for name in uncertainty.ESTIMATORS]


@pytest.mark.parametrize(("estimator", "orthogonally"), [*INDEPENDENT, ("control_variate", True), ("filtered", True)])
def test_standard_error_tells_how_much_scores_scatter(estimator: str, orthogonally: bool) -> None:
    data = three_bumps()
    level = torch.tensor(0.8, dtype=torch.float64)
    x = normal(1, *SHAPE, seed=20)
    draws = 1000
    noise = orthogonal_noise(6, draws, seed=21) if orthogonally else normal(6, draws, *SHAPE, seed=21)
    found = uncertainty.estimate(
        data.noise_prediction, x.expand(draws, *SHAPE), level, noise=noise, orthogonal=orthogonally, estimator=estimator
    )
    told = uncertainty.ESTIMATORS[estimator].standard_errors(found.probes, None)
    for name in PROBED:
        ratio = told[name].square().mean().sqrt() / found.quantities[name].flatten(1).mean(1).std()
        # The jackknife of a variance over six draws errs on the safe side.
        assert 0.9 < ratio < 1.6, (name, ratio)


def test_images_do_not_influence_each_other() -> None:
    data = three_bumps()
    level = torch.tensor(0.7, dtype=torch.float64)
    x = normal(3, *SHAPE, seed=21)
    noise = normal(5, 3, *SHAPE, seed=22)
    together = uncertainty.guide(data.noise_prediction, x, level, noise=noise)
    alone = uncertainty.guide(data.noise_prediction, x[1:2], level, noise=noise[:, 1:2])
    torch.testing.assert_close(together.gradient[1:2], alone.gradient)
    torch.testing.assert_close(together.denoised[1:2], alone.denoised)


def test_centered_is_variance_plus_squared_bias() -> None:
    noise, scores = normal(6, 1, *SHAPE, seed=23), normal(6, 1, *SHAPE, seed=24)
    center = normal(1, *SHAPE, seed=25)
    one = torch.ones(1, dtype=torch.float64)
    probes = Probes(noise, scores, noise, center, variance_exploding(one), one)
    found = centered.maps(probes)["score_variance"]
    torch.testing.assert_close(found, scores.var(0, correction=0) + (scores.mean(0) - center).square())


def guided(prompted: Mixture, unprompted: Mixture, cfg: float, name: str) -> tuple[Callable, Callable]:
    """Noise prediction after CFG, alone and with the one under the prompt."""

    def both(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        conditional, unconditional = getattr(prompted, name)(x, sigma), getattr(unprompted, name)(x, sigma)
        return unconditional + cfg * (conditional - unconditional), conditional

    return lambda x, sigma: both(x, sigma)[0], both


@pytest.mark.parametrize("estimator", ["paper", "control_variate"])
@pytest.mark.parametrize("family", FAMILIES)
def test_under_cfg_the_posterior_variance_is_that_of_the_prompt(family: str, estimator: str) -> None:
    """Where guided predictions give w·C_c - (w - 1)·C_u, which is below 0 here."""
    noising, name = FAMILIES[family]
    covariance = random_covariance(DIM, 5)
    score, both = guided(*(gaussian(torch.zeros(DIM, dtype=torch.float64), scale * covariance) for scale in (0.3, 3)), 3.0, name)
    level = torch.tensor(0.6, dtype=torch.float64)
    coefficients = noising(level)
    a, b = float(coefficients.a), float(coefficients.b)
    noise = normal(20_000, 1, *SHAPE, seed=40)
    x = normal(1, *SHAPE, seed=41)
    found = uncertainty.estimate(score, x, level, noising=noising, noise=noise, both=both, estimator=estimator)
    offset = (x - b * score(x, level.expand(1))) / a
    expected, wide = (gaussian_quantities(scale * covariance, a, b, offset.flatten()) for scale in (0.3, 3))
    for quantity in ("posterior_variance", "denoising_loss"):
        torch.testing.assert_close(found.quantities[quantity].flatten(), expected[quantity], rtol=0.05, atol=0.08)
    alone = uncertainty.estimate(score, x, level, noising=noising, noise=noise, estimator=estimator).quantities
    limit = 3 * expected["posterior_variance"] - 2 * wide["posterior_variance"]
    torch.testing.assert_close(alone["posterior_variance"].flatten(), limit, rtol=0.05, atol=0.08)
    assert (limit < 0).any() and (found.quantities["posterior_variance"] > 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_variances_are_two_quantities_and_not_three(family: str) -> None:
    """U = 1 + (a/b)²·(denoised variance - 2·posterior variance), for the same predictions and any probes."""
    noising, name = FAMILIES[family]
    data, level = three_bumps(), torch.tensor(0.7, dtype=torch.float64)
    for special in (False, True):
        noise = orthogonal_noise(5, 2, seed=42) if special else normal(5, 2, *SHAPE, seed=42)
        found = uncertainty.estimate(
            getattr(data, name), normal(2, *SHAPE, seed=43), level, noising=noising, noise=noise, orthogonal=special,
            estimator="control_variate",
        ).quantities  # fmt: skip
        ratio = (noising(level).a / noising(level).b) ** 2
        rest = 1 + ratio * (found["denoised_variance"] - 2 * found["posterior_variance"])
        torch.testing.assert_close(found["score_variance"], rest)


def test_score_variance_rises_again_where_two_images_compete() -> None:
    """High means sure, until (a/b)²·C has an eigenvalue of about 2."""
    sure, unsure = {}, {}
    for distance, found in ((0.2, sure), (4.8, unsure)):
        direction = torch.ones(DIM, dtype=torch.float64) / DIM**0.5
        means = torch.stack([distance * direction, -distance * direction])
        narrow = 0.05**2 * torch.eye(DIM, dtype=torch.float64).expand(2, DIM, DIM)
        data = Mixture(means, narrow, torch.tensor([0.5, 0.5], dtype=torch.float64))
        noise = normal(20_000, 1, *SHAPE, seed=44)
        x = torch.zeros(1, *SHAPE, dtype=torch.float64)
        level = torch.tensor(1.2, dtype=torch.float64)
        values = uncertainty.estimate(data.noise_prediction, x, level, noise=noise, estimator="control_variate").quantities
        found.update({name: float(value.mean()) for name, value in values.items()})
    assert unsure["posterior_variance"] > 5 * sure["posterior_variance"]
    assert unsure["score_variance"] > sure["score_variance"]


def test_a_loss_is_a_variance_and_the_error_that_it_does_not_see() -> None:
    noise, scores, prompted = (normal(6, 2, *SHAPE, seed=seed) for seed in (45, 46, 47))
    one = torch.ones(2, dtype=torch.float64)
    probes = Probes(noise, scores, noise, normal(2, *SHAPE, seed=48), variance_exploding(2 * one), 2 * one, conditional=prompted)
    missed = 2 * (noise - prompted)  # x̂0_c(x̂ⁱ) - x̂0
    expected = missed.var(0, correction=0) + missed.mean(0).square()
    for estimator in ("paper", "control_variate"):
        torch.testing.assert_close(uncertainty.ESTIMATORS[estimator].maps(probes, None)["denoising_loss"], expected)


def test_drift_adds_up_the_changes_of_the_last_third() -> None:
    images = normal(9, 2, *SHAPE, seed=49).float()
    drift = Drift(9)
    for step, image in enumerate(images):
        drift.see(step, image)
        drift.see(step, image + 1)  # a second call of the step
    assert drift.map is not None
    torch.testing.assert_close(drift.map, images[5:].diff(dim=0).square().sum(0))
    once = Drift(1)
    once.see(0, images[0])
    assert once.map is None
