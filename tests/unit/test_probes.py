"""Private, batch-independent probe noise, and the noise levels that have none."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import uncertainty
from uncertainty.noising import Noising, from_noise_scaling, rectified_flow
from uncertainty.probes import orthogonal, probe_noise, score_probes

SHAPE = (3, 5, 7)


def draw(samples: int = 4, seed: int = 1, step: int = 2, call: int = 0, images: tuple[int, ...] = (0, 1, 2)) -> Tensor:
    return probe_noise(SHAPE, samples, seed, step, call, images)


def test_global_generator_is_untouched() -> None:
    before = torch.get_rng_state()
    draw()
    assert torch.equal(before, torch.get_rng_state())


def test_an_image_keeps_its_probes_in_any_batch() -> None:
    assert torch.equal(draw()[:, 2:], draw(images=(2,)))
    assert torch.equal(draw()[:, [2, 0]], draw(images=(2, 0)))


def test_more_probes_start_with_the_same_ones() -> None:
    assert torch.equal(draw(9)[:4], draw(4))


@pytest.mark.parametrize("changed", [{"seed": 2}, {"step": 3}, {"call": 1}, {"images": (5, 6, 7)}])
def test_every_part_of_the_key_counts(changed: dict) -> None:
    assert not torch.isclose(draw(), draw(**changed)).any(dim=(0, 2, 3, 4)).all()
    correlation = torch.corrcoef(torch.stack([draw().flatten(), draw(**changed).flatten()]))[0, 1]
    assert abs(correlation) < 0.15


def test_the_largest_seed_works() -> None:
    assert torch.isfinite(draw(seed=2**64 - 1)).all()


@pytest.mark.parametrize("shape", [(4, 6, 6), (3, 8, 8), (1, 5, 7), (16, 4, 4), (2, 40), (3, 2, 5, 5)])
@pytest.mark.parametrize("samples", [2, 3, 5, 9, 16])
def test_orthogonal_probes(samples: int, shape: tuple[int, ...]) -> None:
    noise = probe_noise(shape, samples, 0, 0, 0, [0], orthogonally=True)[:, 0]
    assert noise.shape == (samples, *shape)
    torch.testing.assert_close(noise.sum(0), torch.zeros(shape), rtol=0, atol=1e-5)
    torch.testing.assert_close(noise.square().mean(0), torch.ones(shape))
    together = min(samples - 1, shape[0])
    group = noise.flatten(2)[:, :together]
    products = torch.einsum("icp,idp->pcd", group, group) / samples
    torch.testing.assert_close(products, torch.eye(together).expand_as(products), rtol=0, atol=1e-5)


def test_neighbouring_places_share_a_group_where_channels_are_few() -> None:
    noise = orthogonal(torch.randn(5, 1, 3, 6, generator=torch.Generator().manual_seed(0))).flatten(1)
    products = noise.T @ noise / 5
    for start in range(0, 16, 4):  # 18 places: four groups of four, one of two
        torch.testing.assert_close(products[start : start + 4, start : start + 4], torch.eye(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(products[16:, 16:], torch.eye(2), rtol=0, atol=1e-5)


def test_every_orthogonal_probe_is_nearly_normal_noise() -> None:
    noise = orthogonal(torch.randn(5, 4, 128, 128, generator=torch.Generator().manual_seed(1)))
    for probe in noise:
        assert abs(probe.mean()) < 0.02
        assert abs(probe.var() - 1) < 0.02
        assert abs(probe.pow(4).mean() - 2) < 0.05  # 3·(M - 1)/(M + 1)
        flat = probe.flatten(1)
        assert (torch.corrcoef(flat) - torch.eye(4)).abs().max() < 0.04


def test_what_orthogonal_probes_miss() -> None:
    """Of responses that are not linear, against independent probes; four channels and M = 5, as in docs/method.md."""
    generator = torch.Generator().manual_seed(7)
    independent, special = (torch.randn(5, 4, 40_000, generator=generator, dtype=torch.float64) for _ in range(2))
    special = orthogonal(special)

    def variance(response: Callable[[Tensor], Tensor], noise: Tensor, degrees: int) -> float:
        values = response(noise)
        return float((values - values.mean(0)).square().sum(0).mean() / degrees)

    missed = {
        name: 1 - variance(response, special, 5) / variance(response, independent, 4)
        for name, response in {
            "norm": lambda noise: noise.norm(dim=1),
            "cubic": lambda noise: noise[:, 0] ** 3,
            "product": lambda noise: noise[:, 0] * noise[:, 1],
        }.items()
    }
    assert missed == pytest.approx({"norm": 1, "cubic": 0.69, "product": 0.33}, abs=0.03)
    covariance = [1 - float((special[:, 0] ** power).mean() / (independent[:, 0] ** power).mean()) for power in (4, 6)]
    assert covariance == pytest.approx([0.33, 0.66], abs=0.03)


@pytest.mark.parametrize("probes_per_call", [1, 2, 3, 7, None])
def test_batching_keeps_probes_with_their_image(probes_per_call: int | None) -> None:
    # Perturbation-major: the conditioning of image j is tiled as j, then j + B, ...
    conditioning = torch.tensor([1.0, 10.0])

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        assert len(sigma) == len(x)
        return x * conditioning.repeat(len(x) // 2)[:, None] * sigma[:, None]

    probes = torch.arange(14.0).reshape(7, 2, 1)
    found = score_probes(score, probes, torch.tensor([1.0, 2.0]), probes_per_call)
    assert torch.equal(found, probes * torch.tensor([1.0, 20.0])[:, None])


def test_noise_scaling_is_read_off_the_model() -> None:
    def scaling(sigma: Tensor, noise: Tensor, image: Tensor) -> Tensor:
        noise *= 0.5 * sigma[:, None]  # writes into its input, as some of ComfyUI's do
        noise += image * 0.25
        return noise

    found = from_noise_scaling(scaling, torch.tensor([2.0, 4.0]))
    assert found.a.tolist() == [0.25, 0.25] and found.b.tolist() == [1.0, 2.0]


def test_levels_without_noise_or_image_are_refused() -> None:
    with pytest.raises(ValueError, match="noise coefficient b must be above 0"):
        Noising(torch.ones(1), torch.zeros(1))
    with pytest.raises(ValueError, match="Start the window after the first step"):
        rectified_flow(torch.ones(1))


def test_too_few_samples_and_unknown_estimators_are_named() -> None:
    x, sigma = torch.zeros(1, 1, 2, 2), torch.ones(1)
    with pytest.raises(ValueError, match="samples must be at least 2, got 1"):
        uncertainty.estimate(lambda z, s: z, x, sigma, samples=1)
    with pytest.raises(ValueError, match="estimator must be one of .*got 'best'"):
        uncertainty.estimate(lambda z, s: z, x, sigma, estimator="best")


def test_two_samples_have_no_known_error() -> None:
    found = uncertainty.estimate(lambda z, s: z, torch.zeros(1, 1, 2, 2), torch.ones(1), samples=2)
    assert torch.isnan(uncertainty.ESTIMATORS["paper"].standard_errors(found.probes, None)["score_variance"]).all()
