"""Smoothing along the image: what it must keep, what it gains, and how far it may err."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.utils._python_dispatch import TorchDispatchMode

import uncertainty
from closed_forms import Mixture, random_covariance
from uncertainty.estimators import ESTIMATORS
from uncertainty.noising import variance_exploding
from uncertainty.probes import Probes, orthogonal
from uncertainty.quantities import PROBED
from uncertainty.smoothing import along_image, nonlocal_means, radius_for, shrink


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_means_equal_the_definition_written_out() -> None:
    values, guide = normal(1, 1, 4, 5, seed=1), normal(1, 2, 4, 5, seed=2)
    expected = torch.empty(4, 5, dtype=torch.float64)
    for y in range(4):
        for x in range(5):
            around = [(v, u) for v in range(4) for u in range(5) if abs(v - y) <= 2 and abs(u - x) <= 2]
            weights = torch.stack([torch.exp(-(guide[0, :, y, x] - guide[0, :, v, u]).square().sum()) for v, u in around])
            expected[y, x] = (weights * torch.stack([values[0, 0, v, u] for v, u in around])).sum() / weights.sum()
    torch.testing.assert_close(nonlocal_means(values, guide, radius=2, patch=0)[0, 0], expected)


class Operations(TorchDispatchMode):
    """Counts what a graphics card would have to start: every operation that is not only a view."""

    started = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: D105
        self.started += not func.is_view
        return func(*args, **(kwargs or {}))


def test_a_card_starts_few_operations() -> None:
    """A card computes them faster than they are started, so their number is the time that smoothing takes there."""
    pairs = (2 * 5 + 1) ** 2 // 2
    with Operations() as counted:
        along_image({"map": normal(1, 4, 64, 64, seed=1).square()}, normal(1, 4, 64, 64, seed=2), "map")
    assert counted.started < 2 * 8 * pairs + 50


def test_edges_of_the_image_stay_edges_of_the_map() -> None:
    image = torch.zeros(1, 3, 64, 64, dtype=torch.float64)
    image[..., 32:] = 1
    truth = (1 + 4 * image[:, :1]).expand(1, 3, 64, 64)
    noisy = truth * normal(1, 3, 64, 64, seed=3).square()
    smooth = along_image({"map": noisy}, image, pilot="map")["map"]
    assert (smooth - truth).square().mean() < 0.05 * (noisy - truth).square().mean()
    # A filter blind to the image would mix 1 and 5 beside the edge.
    beside = smooth.mean((0, 1, 2))
    assert beside[31] < 2 < 4 < beside[32]


def test_turning_the_image_turns_the_map() -> None:
    maps, image = {"map": normal(2, 3, 16, 24, seed=4).square()}, normal(2, 3, 16, 24, seed=5)
    turned = along_image({"map": maps["map"].rot90(1, (2, 3))}, image.rot90(1, (2, 3)), pilot="map")["map"]
    torch.testing.assert_close(turned, along_image(maps, image, pilot="map")["map"].rot90(1, (2, 3)))


@pytest.mark.parametrize("shape", [(3, 2, 40), (3, 2, 4, 12, 10), (3, 2, 1, 1), (3, 2, 12, 12)])
def test_every_latent_shape_and_no_influence_between_images(shape: tuple[int, ...]) -> None:
    maps, image = {"map": normal(*shape, seed=6).square()}, normal(*shape, seed=7)
    together = along_image(maps, image, pilot="map")["map"]
    assert together.shape == shape and torch.isfinite(together).all()
    alone = along_image({"map": maps["map"][1:2]}, image[1:2], pilot="map")["map"]
    torch.testing.assert_close(together[1:2], alone)


def test_a_constant_image_and_a_zero_map_are_no_trouble() -> None:
    zero, image = torch.zeros(1, 2, 8, 8), torch.ones(1, 2, 8, 8)
    assert torch.equal(along_image({"map": zero}, image, pilot="map")["map"], zero)
    assert torch.equal(shrink(zero, zero, zero), zero)


def test_radius_follows_resolution() -> None:
    assert [radius_for(size, size) for size in (8, 16, 32, 64, 128)] == [1, 1, 2, 5, 5]


def test_shrinkage_keeps_what_exceeds_the_noise() -> None:
    noise = torch.ones(1, 1, 100, 100, dtype=torch.float64)
    smooth = torch.zeros_like(noise)
    far = torch.where(torch.arange(100) % 2 == 0, 3.0, -3.0).double().expand(1, 1, 100, 100)
    # E = 9 + 1: nine tenths of the difference stay.
    kept = shrink(far + normal(1, 1, 100, 100, seed=8), smooth, noise)
    assert 0.87 < (kept * far).mean() / 9 < 0.93
    assert shrink(0.5 * normal(1, 1, 100, 100, seed=9), smooth, noise).square().mean() < 1e-3


def test_the_filter_keeps_the_mean_of_every_image() -> None:
    data = Mixture(
        0.5 * normal(2, 32, seed=10),
        torch.stack([0.2 * random_covariance(32, s) for s in (1, 2)]),
        torch.tensor([0.5, 0.5], dtype=torch.float64),
    )
    x, noise = normal(3, 2, 4, 4, seed=11), normal(5, 3, 2, 4, 4, seed=12)
    mask = torch.zeros(3, 1, 4, 4)
    mask[..., :2] = 1
    level = torch.tensor(0.7, dtype=torch.float64)
    for inside in (None, mask):
        found = {
            name: uncertainty.estimate(data.noise_prediction, x, level, noise=noise, estimator=name, mask=inside).quantities
            for name in ("filtered", "control_variate")
        }
        for quantity in PROBED:
            one, other = (
                found[name][quantity][..., :2] if inside is not None else found[name][quantity]
                for name in ("filtered", "control_variate")
            )
            assert torch.equal(one, other) != PROBED[quantity].smoothed
            torch.testing.assert_close(one.mean((1, 2, 3)), other.mean((1, 2, 3)))


def test_inside_a_mask_the_outside_does_not_exist() -> None:
    maps, image = {"map": normal(1, 2, 24, 24, seed=20).square()}, normal(1, 2, 24, 24, seed=21)
    mask = torch.zeros(1, 1, 24, 24)
    mask[..., :16, :20] = 1
    noise = torch.full((1, 2, 24, 24), 0.5, dtype=torch.float64)
    results = []
    for outside in (0.0, 1000.0):
        noisy = torch.where(mask > 0, maps["map"], outside)
        smooth = along_image({"map": noisy}, image, "map", mask)["map"]
        results.append(shrink(noisy, smooth, torch.where(mask > 0, noise, outside), mask)[..., :16, :20])
    assert not torch.equal(results[0], maps["map"][..., :16, :20])
    torch.testing.assert_close(results[0], results[1])


def rms_bias_in_standard_errors(raw: Tensor, found: Tensor) -> float:
    """Of independent draws (N, ...) of an unbiased map and of what was made of it."""
    return float((found - raw).mean(0).square().mean().sqrt() / raw.var(0).mean().sqrt())


@pytest.mark.parametrize("samples", [5, 20, 100])
def test_bias_stays_about_half_a_standard_error_where_the_image_deceives(samples: int) -> None:
    """Neighbours look alike in the image and are as differently uncertain as can be: a map that smoothing destroys."""
    draws = 200
    image = torch.zeros(1, 1, 12, 12, dtype=torch.float64)
    image[..., 6:] = 1
    board = (torch.arange(12)[:, None] + torch.arange(12)) % 2
    truth = torch.where(board == 0, 1.5, 0.5).double()
    terms = truth * normal(samples, draws, 1, 12, 12, seed=13).square()
    raw = terms.mean(0)
    smooth = along_image({"map": raw}, image.expand(draws, 1, 12, 12), pilot="map")["map"]
    found = shrink(raw, smooth, terms.var(0) / samples)
    assert rms_bias_in_standard_errors(raw, found) < 0.6
    if samples > 5:
        assert rms_bias_in_standard_errors(raw, smooth) > 1.2  # unless shrunk


@pytest.mark.parametrize("samples", [5, 20, 100])
def test_bias_stays_about_half_a_standard_error_on_a_mixture(samples: int) -> None:
    dim, draws = 32, 400
    covariances = torch.stack([0.3 * random_covariance(dim, seed) for seed in (4, 5, 6)])
    data = Mixture(normal(3, dim, seed=13), covariances, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))
    x = normal(1, 2, 4, 4, seed=14).expand(draws, 2, 4, 4)
    noise = normal(samples, draws, 2, 4, 4, seed=15)
    raw, found = (
        uncertainty.estimate(
            data.noise_prediction, x, torch.tensor(0.6, dtype=torch.float64), noise=noise, estimator=name
        ).quantities
        for name in ("control_variate", "filtered")
    )
    for quantity in PROBED:
        assert rms_bias_in_standard_errors(raw[quantity], found[quantity]) < 0.6, quantity


@pytest.mark.parametrize("channels", [3, 4, 16])
def test_the_loss_shows_a_small_spot_that_the_image_does_not_show(channels: int) -> None:
    """3 x 3 places of three times the variance, of which smoothing leaves a contrast of 1.2 to 1.8."""
    size, samples, draws = 32, 5, 8
    near = (torch.arange(size) - 12).abs()
    inside = (near[:, None] <= 1) & (near <= 1)
    planted = torch.where(inside, 3.0, 1.0)
    image = torch.linspace(-1, 1, size).sin().expand(draws, channels, size, size)
    mixing = torch.randn(channels, channels, 3, 3, generator=torch.Generator().manual_seed(50))
    mixing = mixing / mixing.square().sum((1, 2, 3), keepdim=True).sqrt()
    noise = torch.stack([orthogonal(normal(samples, channels, size, size, seed=51 + draw).float()) for draw in range(draws)], 1)
    moved = planted.sqrt() * conv2d(noise.flatten(0, 1), mixing, padding=1).reshape(noise.shape)
    one = torch.ones(draws)
    probes = Probes(noise, noise - moved, image + noise, torch.zeros_like(image), variance_exploding(one), one, orthogonal=True)
    found, raw = (ESTIMATORS[name].maps(probes, None) for name in ("filtered", "control_variate"))
    contrast = {name: values.mean((0, 1))[inside].mean() / values.mean((0, 1))[near > 4].mean() for name, values in found.items()}
    assert 2.5 < contrast["denoising_loss"] < 3.5
    assert contrast["denoised_variance"] < 2
    assert torch.equal(found["denoising_loss"], raw["denoising_loss"])
