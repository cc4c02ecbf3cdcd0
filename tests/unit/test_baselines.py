"""Baselines against cases with a known answer."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from dev.launcher import mend_torchvision
from made_maps import made
from uncertainty.baselines import BASELINES, bayesdiff, cfg_rejection, laplace, mc_dropout, prompt_information
from uncertainty.noising import variance_exploding
from uncertainty.scores import SCORES, Score


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_baseline_says_what_measures_it() -> None:
    assert set(BASELINES) <= set(SCORES)
    assert all(baseline.name == name and baseline.measured_by for name, baseline in BASELINES.items())


class Dropped(nn.Module):
    """``ε(x) = W·dropout(x)``: of variance ``p/(1 - p)·Σ_j (W_ij·x_j)²``."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(p)
        self.weight = torch.randn(6, 6, generator=generator(1))
        self.eval()

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return (self.dropout(x.flatten(1)) @ self.weight.T).reshape(x.shape)


def test_dropout_variance_is_the_linear_networks() -> None:
    p, network = 0.3, Dropped(0.3)
    x = torch.randn(2, 1, 2, 3, generator=generator(2))
    expected = p / (1 - p) * (network.weight * x.flatten(1)[:, None]).square().sum(2).reshape(x.shape)
    layers = mc_dropout.dropout_layers([network])
    with mc_dropout.active(layers, 5, x.device):
        found = mc_dropout.mc_dropout(network, x, torch.ones(2), 40_000)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0)


def test_dropout_leaves_everything_as_it_was() -> None:
    network = Dropped(0.3)
    layers = mc_dropout.dropout_layers([network, nn.Dropout(0.0)])
    assert layers == [network.dropout]
    state = torch.get_rng_state()

    def stopped() -> None:
        with mc_dropout.active(layers, 5, torch.device("cpu")):
            assert network.dropout.training
            torch.rand(3)
            raise KeyError

    with pytest.raises(KeyError):
        stopped()
    assert not network.dropout.training
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_masks_repeat_by_seed() -> None:
    network, x = Dropped(0.3), torch.ones(1, 1, 2, 3)

    def drawn(seed: int) -> Tensor:
        with mc_dropout.active(mc_dropout.dropout_layers([network]), seed, x.device):
            return network(x, torch.ones(1))

    assert torch.equal(drawn(4), drawn(4))
    assert not torch.equal(drawn(4), drawn(5))


def test_score_difference_is_that_of_the_noise_predictions() -> None:
    x, conditional, unconditional = (torch.randn(3, 2, 4, 4, generator=generator(seed)) for seed in range(3))
    a, b = torch.tensor([1.0, 0.7, 0.2]), torch.tensor([2.0, 0.3, 0.8])
    noise = [(x - a.view(-1, 1, 1, 1) * denoised) / b.view(-1, 1, 1, 1) for denoised in (conditional, unconditional)]
    torch.testing.assert_close(
        cfg_rejection.squared_difference(conditional, unconditional, a / b), (noise[0] - noise[1]).square()
    )


LAYERS = (nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 2, stride=2), nn.Linear(3, 4))


def shaped(layer: nn.Module, count: int, seed: int) -> Tensor:
    """Features that go into a layer."""
    shape = (count, 3, 4, 6) if isinstance(layer, nn.Conv2d) else (count, 5, 3)
    return torch.randn(shape, generator=generator(seed))


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_squared_gradients_are_autograds(layer: nn.Module) -> None:
    features = shaped(layer, 3, 7)
    target = torch.randn_like(layer(features))
    weight, bias = torch.zeros_like(layer.weight), torch.zeros_like(layer.bias)
    for sample, truth in zip(features, target, strict=True):
        loss = mse_loss(layer(sample[None]), truth[None], reduction="sum")
        gradients = torch.autograd.grad(loss, (layer.weight, layer.bias))
        weight += gradients[0].square()
        bias += gradients[1].square()
    found = laplace.squared_gradients(layer, features, 2 * (layer(features) - target).detach())
    torch.testing.assert_close(found[0], weight, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1], bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_output_variance_is_that_of_drawn_weights(layer: nn.Module) -> None:
    features = shaped(layer, 2, 8)
    rng = generator(9)
    weight, bias = torch.rand(layer.weight.shape, generator=rng), torch.rand(layer.bias.shape, generator=rng)
    expected = laplace.output_variance(layer, laplace.Laplace(weight, bias, "out"), features)
    drawn = []
    for _ in range(4000):
        noise = {
            "weight": layer.weight + weight.sqrt() * torch.randn(weight.shape, generator=rng),
            "bias": layer.bias + bias.sqrt() * torch.randn(bias.shape, generator=rng),
        }
        drawn.append(torch.func.functional_call(layer, noise, features).detach())
    torch.testing.assert_close(torch.stack(drawn).var(0), expected, rtol=0.15, atol=0)


def test_posterior_is_laplace_torchs() -> None:
    mend_torchvision()
    from laplace import Laplace
    from laplace.curvature import AsdlEF
    from torch.utils.data import DataLoader, TensorDataset

    rng = generator(11)
    inputs, truth = torch.randn(40, 5, generator=rng), torch.randn(40, 2, generator=rng)
    torch.manual_seed(0)
    head = nn.Linear(5, 2)
    oracle = Laplace(
        nn.Sequential(head), "regression", subset_of_weights="all", hessian_structure="diag", backend=AsdlEF, prior_precision=1.0
    )
    oracle.fit(DataLoader(TensorDataset(inputs, truth), batch_size=8))
    squares = laplace.squared_gradients(head, inputs[:, None], 2 * (head(inputs) - truth)[:, None].detach())
    found = torch.cat([laplace.posterior(part).flatten() for part in squares])
    torch.testing.assert_close(found, 1 / oracle.posterior_precision.detach(), rtol=1e-4, atol=1e-6)


def test_a_last_layer_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"linear or convolutional last layer, but Net.head is a Conv1d"):
        laplace.check_layer(nn.Conv1d(1, 1, 1), "Net.head")


def test_covariance_of_a_linear_derivative() -> None:
    scale = torch.tensor([0.5, -1.5, 2.0]).view(1, 3, 1, 1)
    x, variance = torch.ones(1, 3, 1, 1), torch.tensor([0.2, 0.4, 0.1]).view(1, 3, 1, 1)
    noise = torch.randn(50_000, 1, 3, 1, 1, generator=generator(12))
    found = bayesdiff.covariance(lambda z: scale * z, x, variance, noise)
    torch.testing.assert_close(found, scale * variance, rtol=0.03, atol=0)


def test_variance_is_carried_as_an_euler_step_carries_it() -> None:
    # x' = x + Δσ·(k·x + n) with n independent of x: Var x' = (1 + Δσ·k)²·Var x + Δσ²·Var n.
    k, step, variance, own = 0.7, torch.tensor(-0.4), torch.tensor([0.3]), torch.tensor([0.05])
    found = bayesdiff.carried(variance, k * variance, k**2 * variance + own, step)
    torch.testing.assert_close(found, (1 + step * k) ** 2 * variance + step**2 * own)
    assert float(bayesdiff.carried(torch.tensor(0.1), torch.tensor(10.0), torch.tensor(0.0), step)) == 0


def test_scores_of_baselines_have_no_steps() -> None:
    found = made(images=2)
    with pytest.raises(
        ValueError, match=r"mc_dropout was not measured with this map: turn mc_dropout on in Uncertainty Baselines"
    ):
        found.score("mc_dropout")
    scored = replace(found, baselines={"mc_dropout": Score(torch.tensor([1.0, 2.0]), torch.full((2,), math.nan))})
    assert scored.score("mc_dropout").value.tolist() == [1.0, 2.0]
    assert scored.select([1]).score("mc_dropout").value.tolist() == [2.0]
    with pytest.raises(ValueError, match="has no steps"):
        scored.score("mc_dropout", [])


def test_prompt_information_is_that_of_gaussian_data() -> None:
    """Data N(μ, s²) with the prompt, N(0, S²) without: the squared errors are (σ⁴·(μ - x0)² + s⁴·σ²) / (s² + σ²)²."""
    mean, narrow, wide, sigma, count = 1.0, 0.3, 1.5, 2.0, 4000
    images = torch.stack([torch.full((1, 4, 4), value) for value in (1.0, 0.0, -1.0)]).double()

    def restored(x: Tensor, centre: float, spread: float) -> Tensor:
        return (spread**2 * x + sigma**2 * centre) / (spread**2 + sigma**2)

    def error(centre: float, spread: float) -> Tensor:
        gap = images.mean((1, 2, 3)) - centre
        return (sigma**4 * gap.square() + spread**4 * sigma**2) / (spread**2 + sigma**2) ** 2

    noise = torch.randn(count, *images.shape, generator=generator(2), dtype=torch.float64)
    x = variance_exploding(torch.full((3,), sigma).double()).noised(images, noise)
    found = prompt_information.information(restored(x, mean, narrow), restored(x, 0.0, wide), images)
    expected = 1 - error(mean, narrow) / error(0.0, wide)
    torch.testing.assert_close(found.mean((1, 2, 3)), expected, rtol=0.02, atol=0.01)
    assert expected[0] > 0.9 > 0 > expected[1] > expected[2]  # what the prompt says, and what it does not say


def test_prompt_information_counts_the_sampled_part_only() -> None:
    prompted, unprompted = (torch.randn(3, 2, 3, 4, 4, generator=generator(seed)) for seed in (0, 1))
    denoised, mask = torch.randn(2, 3, 4, 4, generator=generator(2)), torch.zeros(2, 1, 4, 4)
    mask[..., :2] = 1
    inside = prompt_information.information(prompted, unprompted, denoised, mask)[..., :2]
    alone = prompt_information.information(prompted[..., :2], unprompted[..., :2], denoised[..., :2])
    torch.testing.assert_close(inside, alone)


def test_prompt_information_looks_at_an_image_that_is_all_but_finished() -> None:
    assert [prompt_information.image_step(steps) for steps in (1, 4, 8, 20, 50)] == [0, 3, 6, 17, 42]


def test_prompt_information_adds_noise_of_a_level_where_shapes_form() -> None:
    assert [prompt_information.level_step(19, 20), prompt_information.level_step(49, 50)] == [3, 8]
    assert prompt_information.level_step(1, 20) == 1  # x̂0 of an early step knows no more than its own level
    assert [prompt_information.level_step(step, 2) for step in (0, 1)] == [0, 1]
