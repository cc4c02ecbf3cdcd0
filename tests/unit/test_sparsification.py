"""Sparsification against the published values and against its definition."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uncertainty import PROBED, UncertaintyMap, metrics
from uncertainty.images import sparsification_plot
from uncertainty.metrics import error_map, sparsification

PUBLISHED = Path(__file__).parent.parent / "fixtures" / "sparsification.npz"
CASES = range(5)


@pytest.mark.parametrize("case", CASES)
def test_published_values(case: int) -> None:
    with np.load(PUBLISHED) as known:
        given = [known[f"{case}.{name}"] for name in ("ground_truth", "prediction", "uncertainty")]
        found = metrics.sparsification(*given, intervals=50)
        np.testing.assert_allclose(found.curve, known[f"{case}.sparsification_curve"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.oracle_curve, known[f"{case}.oracle_curve"], rtol=0, atol=1e-9)
        assert found.ause == pytest.approx(float(known[f"{case}.ause"]), abs=1e-9)
        assert found.aurg == pytest.approx(float(known[f"{case}.aurg"]), abs=1e-9)


def by_definition(truth: np.ndarray, guess: np.ndarray, unsure: np.ndarray, intervals: int) -> list[float]:
    """Point by point."""
    squares, sure = (truth - guess) ** 2, -unsure
    points = []
    for point in range(intervals):
        left = squares[sure >= np.percentile(sure, 100 / intervals * point)]
        points.append(float(np.sqrt(left.mean())))
    return [*points, 0.0]


@given(
    seed=st.integers(0, 999),
    size=st.integers(1, 90),
    intervals=st.integers(1, 60),
    levels=st.integers(1, 40),
    kind=st.sampled_from([np.float32, np.float64, np.int16]),
)
@settings(max_examples=300, deadline=None)
def test_curve_is_its_definition_with_ties_too(seed: int, size: int, intervals: int, levels: int, kind: type) -> None:
    rng = np.random.default_rng(seed)
    truth, guess = rng.normal(size=(2, size))
    unsure = (rng.integers(-levels, levels, size) / levels * 50).astype(kind) * kind(rng.choice([-1, 1]))  # -0 too
    found = sparsification(truth, guess, unsure, intervals)
    expected = by_definition(truth, guess, unsure.astype(np.float64), intervals)
    np.testing.assert_allclose(found.curve, expected, rtol=1e-9, atol=1e-12)


def test_only_the_order_of_uncertainty_counts() -> None:
    rng = np.random.default_rng(0)
    truth, guess, unsure = rng.normal(size=(3, 8, 9))
    found, other = sparsification(truth, guess, unsure), sparsification(truth, guess, np.exp(unsure))
    np.testing.assert_allclose(found.curve, other.curve)
    assert sparsification(truth, guess, np.abs(truth - guess)).ause == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (([0.0, 1.0], [0.0], [1.0, 2.0]), r"prediction must have ground_truth's shape \(2,\)"),
        (([], [], []), "not be empty"),
        (([0.0], [np.nan], [1.0]), "prediction must be finite: 1 of 1 elements are not"),
        (([0.0], [0.0], [1.0], 0), "intervals must be at least 1, got 0"),
    ],
)
def test_bad_input_is_named(given: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sparsification(*given)


def made(values: torch.Tensor) -> UncertaintyMap:
    """A map of one step whose every quantity has these values (B, C, h, w)."""
    return UncertaintyMap(
        quantities=dict.fromkeys(PROBED, values[None]),
        standard_errors={name: torch.zeros(1, len(values)) for name in PROBED},
        steps=(1,),
        total_steps=2,
        sigmas=torch.ones(1),
    )


def test_a_map_of_pixels_is_compared_element_by_element() -> None:
    rng = torch.Generator().manual_seed(0)
    truth, guess = (torch.rand(2, 8, 8, 3, generator=rng) for _ in range(2))
    perfect = made((truth - guess).abs().permute(0, 3, 1, 2).contiguous())
    found = error_map.of_images(truth, guess, perfect, "denoised_variance")
    assert [each.ause for each in found] == pytest.approx([0, 0], abs=1e-7)
    assert all(each.aurg > 0 for each in found)


def test_a_latent_map_is_brought_to_the_pictures_size() -> None:
    truth = torch.zeros(1, 16, 16, 3)
    guess = torch.zeros(2, 16, 16, 3)
    guess[:, :8] = 0.5
    unsure = torch.zeros(2, 4, 2, 2)
    unsure[0, :, 0], unsure[1, :, 1] = 1, 1
    right, wrong = error_map.of_images(truth, guess, made(unsure), "score_variance")
    assert right.aurg > 0 > wrong.aurg
    assert sparsification_plot.plot([right, wrong], "Both").shape == (768, 1024, 3)


def test_pictures_of_another_map_are_refused() -> None:
    with pytest.raises(ValueError, match="must have the same size"):
        error_map.of_images(torch.zeros(1, 8, 8, 3), torch.zeros(3, 8, 8, 3), made(torch.zeros(2, 3, 8, 8)), "score_variance")
