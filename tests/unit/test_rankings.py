"""Rank correlation, standing within groups, the best of k and intervals, against enumeration and scipy."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from uncertainty.metrics.intervals import around, bootstrap, mean_interval, resampled
from uncertainty.metrics.ranking import best_of_k, ranks, spearman, within_groups


@given(values=st.lists(st.integers(0, 5), min_size=3, max_size=30), seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_ranks_and_correlation_are_scipys(values: list[int], seed: int) -> None:
    a = torch.tensor(values, dtype=torch.float32)
    b = torch.randn(len(values), generator=torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(ranks(a).numpy(), rankdata(values) - 1)
    if len(set(values)) > 1:
        assert spearman(a, b) == pytest.approx(spearmanr(values, b.numpy()).statistic, abs=1e-9)


def test_a_constant_has_no_rank_correlation() -> None:
    assert np.isnan(spearman(torch.ones(4), torch.arange(4.0)))


def test_standing_within_groups() -> None:
    values, groups = torch.tensor([3.0, 1.0, 2.0, 9.0, 5.0, 5.0]), torch.tensor([0, 0, 0, 1, 2, 2])
    assert within_groups(values, groups).tolist() == [1, 0, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_best_of_k_is_the_mean_over_all_choices(k: int) -> None:
    rng = torch.Generator().manual_seed(k)
    badness, quality = (torch.randn(12, generator=rng) for _ in range(2))
    groups = torch.tensor([0] * 5 + [4] * 7)
    expected = []
    for group in (0, 4):
        rows = torch.nonzero(groups == group).flatten().tolist()
        chosen = [min(some, key=lambda row: float(badness[row])) for some in combinations(rows, k)]
        expected.append(float(quality[chosen].double().mean()))
    assert best_of_k(badness, quality, groups, k).tolist() == pytest.approx(expected, abs=1e-9)


def test_best_of_more_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="k must be between 1 and the 2 images of group"):
        best_of_k(torch.zeros(2), torch.zeros(2), torch.zeros(2), 3)


def test_intervals_cover_as_often_as_they_say() -> None:
    rng = torch.Generator().manual_seed(0)
    groups = torch.arange(40).repeat_interleave(4)
    hits = 0
    for trial in range(120):
        # Images of a group share its mean: an interval over images would be far too narrow.
        values = torch.randn(40, generator=rng)[groups] + 0.3 * torch.randn(160, generator=rng)
        interval = mean_interval(values, groups, resamples=200, seed=trial)
        hits += interval.low <= 0 <= interval.high
    assert 0.87 <= hits / 120 <= 0.99


def test_intervals_repeat_and_need_groups() -> None:
    values, groups = torch.arange(6.0), torch.tensor([0, 0, 1, 1, 2, 2])
    first = bootstrap(lambda rows: float(values[rows].max()), groups, resamples=50, seed=1)
    assert first == bootstrap(lambda rows: float(values[rows].max()), groups, resamples=50, seed=1)
    assert (first.value, first.low, first.high) == (5, pytest.approx(3, abs=2), 5)
    with pytest.raises(ValueError, match="needs at least two groups, got 1"):
        mean_interval(values, torch.zeros(6))
    with pytest.raises(ValueError, match=r"level must be between 0 and 1, got 1\.5"):
        mean_interval(values, groups, level=1.5)


def test_an_interval_around_a_value_is_as_wide_as_the_resamples_spread() -> None:
    # The mean of a normal sample: both kinds of interval must agree.
    values = torch.randn(400, generator=torch.Generator().manual_seed(3))
    groups = torch.arange(400)
    means = torch.tensor([float(values[rows].mean()) for rows in resampled(groups, 2000)])
    found = around(float(values.mean()), means)
    assert found.value - found.low == pytest.approx(1.96 * float(values.std()) / 20, rel=0.06)
    assert found[1:] == pytest.approx(mean_interval(values, groups, resamples=2000)[1:], abs=0.01)
    with pytest.raises(ValueError, match="level must be"):
        around(0.0, means, level=1.0)
