"""Percentile, mask and update."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from uncertainty import variance_exploding
from uncertainty.estimation import Estimate
from uncertainty.gradients import average_gradient
from uncertainty.guidance import (
    inside,
    percentile_per_image,
    random_direction,
    random_elements,
    uncertain_elements,
    update,
)
from uncertainty.probes import Probes


@given(count=st.integers(1, 60), percentile=st.floats(0, 100), seed=st.integers(0, 99), images=st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_percentile_is_numpys(count: int, percentile: float, seed: int, images: int) -> None:
    values = torch.randn(images, 1, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = np.percentile(values.flatten(1).numpy(), percentile, axis=1)
    np.testing.assert_allclose(percentile_per_image(values, percentile).numpy(), expected, rtol=1e-9, atol=1e-12)


def test_percentile_of_more_elements_than_torch_quantile_takes() -> None:
    values = torch.arange(2**24 + 9, dtype=torch.float32).reshape(1, 1, -1)
    assert percentile_per_image(values, 50.0).item() == pytest.approx((2**24 + 8) / 2)


@pytest.mark.parametrize("percentile", [-0.1, 100.1, float("nan")])
def test_percentile_out_of_range_is_named(percentile: float) -> None:
    with pytest.raises(ValueError, match="percentile must be between 0 and 100"):
        percentile_per_image(torch.zeros(1, 1, 4), percentile)


def test_mask_takes_the_share_above_the_percentile_of_each_image() -> None:
    values = torch.randn(2, 4, 10, 10, generator=torch.Generator().manual_seed(0))
    values[1] *= 1000
    chosen = uncertain_elements(values, 95.0)
    assert chosen.flatten(1).sum(1).tolist() == [20, 20]
    low = uncertain_elements(values, 5.0, side="low")
    assert low.flatten(1).sum(1).tolist() == [20, 20]
    assert not (chosen & low).any()


def test_mask_by_channel_takes_the_same_share_of_every_channel() -> None:
    values = torch.randn(2, 3, 10, 10, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 9.0, 81.0])[:, None, None]
    assert uncertain_elements(values, 90.0, scope="channel").flatten(2).sum(2).tolist() == [[10] * 3] * 2


@pytest.mark.parametrize("scope", ["image", "channel"])
def test_nothing_outside_the_noise_mask_is_chosen_or_counted(scope: str) -> None:
    values = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, :4], mask[1, :, :, 4:] = 1, 1
    values = torch.where(mask > 0, values, 1e6)
    chosen = uncertain_elements(values, 75.0, mask, scope=scope)
    assert not chosen[(mask == 0).expand_as(chosen)].any()
    assert chosen.flatten(1).sum(1).tolist() == [24, 24]


def test_percentile_zero_and_hundred() -> None:
    values = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert uncertain_elements(values, 100.0).sum() == 0
    assert uncertain_elements(values, 0.0).sum() == 15
    assert uncertain_elements(torch.ones(1, 1, 4, 4), 50.0).sum() == 0


def test_elements_that_are_not_chosen_keep_their_bits() -> None:
    rng = torch.Generator().manual_seed(3)
    denoised, gradient = torch.randn(2, 3, 4, 4, generator=rng), torch.randn(2, 3, 4, 4, generator=rng)
    chosen = torch.rand(2, 3, 4, 4, generator=rng) > 0.5
    noising = variance_exploding(torch.tensor([0.5, 2.0]))
    level = torch.tensor([0.5, 2.0])
    probes = Probes(denoised[None], denoised[None], denoised[None], denoised, noising, level)
    measured = Estimate({"score_variance": denoised}, probes)
    found = update(denoised, measured, 3.0, choose=lambda _: chosen, differentiate=lambda _: gradient).denoised
    assert torch.equal(found[~chosen], denoised[~chosen])
    # x̂0' = (x - b·ε̂)/a with ε̂ = ε + λ·mask·g
    x = torch.randn(2, 3, 4, 4, generator=rng)
    epsilon = noising.noise_prediction(x, denoised) + 3.0 * chosen * gradient
    torch.testing.assert_close(found, noising.denoised(x, epsilon), rtol=1e-4, atol=1e-5)


def test_gradients_average_and_start_anew() -> None:
    first, second = torch.ones(2, 3), torch.full((2, 3), 3.0)
    assert torch.equal(average_gradient(None, first), first)
    assert torch.equal(average_gradient(first, second), torch.full((2, 3), 2.0))
    assert torch.equal(average_gradient(first, second[:1]), second[:1])
    broken = first.clone()
    broken[0, 0] = torch.nan
    assert torch.equal(average_gradient(broken, second), torch.tensor([[3.0, 2, 2], [2, 2, 2]]))


@pytest.fixture
def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """A gradient, the elements it would guide, and noise to draw controls from."""
    rng = torch.Generator().manual_seed(3)
    gradient, uncertainty, noise = (torch.randn(3, 2, 6, 5, generator=rng) for _ in range(3))
    return gradient, uncertain_elements(uncertainty, 80.0), noise


def test_a_random_direction_is_as_long_as_the_gradient_on_the_mask(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    gradient, chosen, noise = drawn
    control = random_direction(gradient, chosen, noise)
    for index in range(len(gradient)):
        length = float(gradient[index][chosen[index]].norm())
        assert float(control[index][chosen[index]].norm()) == pytest.approx(length, rel=1e-5)
        cosine = torch.cosine_similarity(control[index].flatten(), noise[index].flatten(), dim=0)
        assert float(cosine) == pytest.approx(1, abs=1e-5)
    assert torch.equal(random_direction(gradient[1:2], chosen[1:2], noise[1:2]), control[1:2])


def test_random_elements_are_as_many_and_elsewhere(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    _, chosen, noise = drawn
    control = random_elements(chosen, noise)
    assert torch.equal(control.flatten(1).sum(1), chosen.flatten(1).sum(1))
    assert not torch.equal(control, chosen)
    assert torch.equal(random_elements(chosen[1:2], noise[1:2]), control[1:2])


def test_random_elements_stay_inside_the_noise_mask(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    _, chosen, noise = drawn
    mask = torch.zeros(3, 1, 6, 5)
    mask[:, :, 2:] = 1
    chosen = inside(chosen, mask)
    control = random_elements(chosen, noise, mask)
    assert torch.equal(control.flatten(1).sum(1), chosen.flatten(1).sum(1))
    assert not control[:, :, :2].any()
