"""Statistics within prompts, against enumeration, closed forms, scipy and the general bootstrap."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu, pearsonr
from torch import Tensor

from uncertainty.metrics.intervals import bootstrap
from uncertainty.metrics.ranking import within_groups as standing
from uncertainty.metrics.within_groups import (
    Statistic,
    centred_ranks,
    difference,
    holm,
    pooled,
    rank_correlation,
    residual,
    roc_area,
    share_of_possible,
)

GROUPS = torch.arange(12).repeat_interleave(6)


def made(seed: int, *signals: float) -> list[Tensor]:
    """Noisy copies (72,) of one hidden value, the first with no noise; groups differ by far more than images."""
    rng = torch.Generator().manual_seed(seed)
    hidden = torch.randn(72, generator=rng)
    between = 10 * torch.randn(12, generator=rng)[GROUPS]
    return [hidden, *[signal * hidden + torch.randn(72, generator=rng) + between for signal in signals]]


def test_roc_area_counts_the_pairs_of_one_group() -> None:
    _, badness = made(0, 1.0)
    badness = badness.round()  # ties
    broken = torch.rand(72, generator=torch.Generator().manual_seed(1)) < 0.3
    wins = [
        float(badness[i] > badness[j]) + 0.5 * float(badness[i] == badness[j])
        for i in range(72)
        for j in range(72)
        if broken[i] and not broken[j] and GROUPS[i] == GROUPS[j]
    ]
    assert roc_area(badness, broken, GROUPS).value == pytest.approx(np.mean(wins))


def test_roc_area_of_one_group_is_mann_whitneys() -> None:
    _, badness = made(2, 1.0)
    broken = torch.arange(72) % 3 == 0
    expected = mannwhitneyu(badness[broken], badness[~broken]).statistic / (24 * 48)
    assert roc_area(badness, broken, torch.zeros(72)).value == pytest.approx(expected)


def test_roc_area_of_normal_scores_has_a_closed_form() -> None:
    rng = torch.Generator().manual_seed(3)
    groups = torch.arange(500).repeat_interleave(8)
    broken = torch.arange(4000) % 2 == 0
    badness = torch.randn(4000, generator=rng) + broken.float() + 50 * torch.randn(500, generator=rng)[groups]
    # Φ(d'/√2) for means one standard deviation apart.
    expected = 0.5 * (1 + torch.erf(torch.tensor(0.5))).item()
    assert roc_area(badness, broken, groups).value == pytest.approx(expected, abs=0.01)


def test_roc_area_without_a_pair_is_undefined() -> None:
    assert np.isnan(roc_area(torch.arange(4.0), torch.tensor([True, True, False, False]), torch.tensor([0, 0, 1, 1])).value)


def test_share_is_the_gain_over_all_choices() -> None:
    quality, badness = made(4, -1.0)
    gains = {"chosen": 0.0, "perfect": 0.0}
    for group in range(12):
        rows = torch.nonzero(group == GROUPS).flatten().tolist()
        for some in combinations(rows, 4):
            mean = float(quality[rows].mean())
            gains["chosen"] += float(quality[min(some, key=lambda i: float(badness[i]))]) - mean
            gains["perfect"] += float(quality[list(some)].max()) - mean
    assert share_of_possible(badness, quality, GROUPS).value == pytest.approx(gains["chosen"] / gains["perfect"], abs=1e-6)
    assert share_of_possible(-quality, quality, GROUPS).value == pytest.approx(1)


def test_correlation_is_that_of_ranks_within_groups() -> None:
    first, second = made(5, 1.0)
    expected = pearsonr(standing(first, GROUPS), standing(second, GROUPS)).statistic
    assert rank_correlation(first, second, GROUPS).value == pytest.approx(expected)
    assert rank_correlation(first, first.exp(), GROUPS).value == pytest.approx(1)


@pytest.mark.parametrize("kind", ["area", "share", "correlation"])
def test_resamples_of_sums_are_those_of_images(kind: str) -> None:
    quality, badness = made(6, -1.0)
    broken = quality < -0.5

    def statistic(bad: Tensor, good: Tensor, is_broken: Tensor, groups: Tensor) -> Statistic:
        if kind == "area":
            return roc_area(bad, is_broken, groups)
        if kind == "share":
            return share_of_possible(bad, good, groups)
        return rank_correlation(bad, good, groups)

    def of_rows(rows: Tensor) -> float:
        again = torch.arange(len(rows)) // 6  # a group that is drawn twice counts as two
        return statistic(badness[rows], quality[rows], broken[rows], again).value

    expected = bootstrap(of_rows, GROUPS, resamples=40, seed=7)
    assert statistic(badness, quality, broken, GROUPS).interval(40, seed=7) == pytest.approx(expected, abs=1e-9)


def test_an_interval_of_one_group_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two groups, got 1"):
        rank_correlation(torch.arange(4.0), torch.arange(4.0), torch.zeros(4)).interval()


def test_paired_differences_are_narrower_than_unpaired_ones() -> None:
    quality, badness = made(8, -1.0)
    nearly = badness + 1e-3 * torch.randn(72, generator=torch.Generator().manual_seed(0))
    first, second = (rank_correlation(score, quality, GROUPS) for score in (badness, nearly))
    found, alone = difference(first, second), first.interval()
    assert found.high - found.low < 0.2 * (alone.high - alone.low)
    assert found.value == pytest.approx(first.value - second.value)


def test_difference_tells_a_signal_from_noise_and_nothing_from_itself() -> None:
    quality, badness, noise = made(9, -3.0, 0.0)
    signal, none = (rank_correlation(score, quality, GROUPS) for score in (badness, noise))
    found = difference(none, signal)
    assert found.low > 0 and found.p == pytest.approx(2 / 4001)
    assert difference(signal, signal) == pytest.approx((0, 0, 0, 1))


def test_pooling_adds_the_settings_of_a_prompt() -> None:
    first, second = (made(seed, -1.0) for seed in (20, 21))
    statistics = [rank_correlation(badness, quality, GROUPS) for quality, badness in (first, second)]
    both = [torch.cat(pair) for pair in zip(first, second, strict=True)]
    apart = torch.cat([GROUPS, GROUPS + 12])  # images of two settings are not compared
    assert pooled(statistics).value == pytest.approx(rank_correlation(both[1], both[0], apart).value)
    assert len(pooled(statistics).parts) == 12  # but they are resampled together


def test_p_is_uniform_where_two_scores_are_alike() -> None:
    small = 0
    for seed in range(100):
        quality, first, second = made(seed, 0.5, 0.5)
        p = difference(rank_correlation(first, quality, GROUPS), rank_correlation(second, quality, GROUPS), resamples=300).p
        small += p < 0.05
    # The percentile bootstrap of 12 groups is a little too sure of itself.
    assert small <= 14


def test_statistics_of_other_groups_are_refused() -> None:
    one = rank_correlation(torch.arange(6.0), torch.arange(6.0), torch.tensor([0, 0, 0, 1, 1, 1]))
    other = rank_correlation(torch.arange(6.0), torch.arange(6.0), torch.tensor([0, 0, 1, 1, 2, 2]))
    with pytest.raises(ValueError, match="the same groups, got 2 and 3"):
        difference(one, other)


def test_holms_correction() -> None:
    # 0.01·4, 0.02·3, then 0.04·1 and 0.03·2: the first to fail drags along what follows it.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_residual_of_a_function_of_the_covariate_is_nothing() -> None:
    _, first, second = made(10, 1.0, 1.0)
    assert residual(first.exp(), [first], GROUPS).abs().max() < 1e-12
    left = residual(second, [first], GROUPS)
    assert abs(float(left @ centred_ranks(first, GROUPS))) < 1e-9
    assert left.norm() > 1


def test_residual_removes_what_only_the_covariate_carries() -> None:
    rng = torch.Generator().manual_seed(11)
    groups = torch.arange(60).repeat_interleave(40)
    quality = torch.randn(2400, generator=rng)
    busy = -quality + torch.randn(2400, generator=rng)
    score = busy + 0.3 * torch.randn(2400, generator=rng)  # knows of quality only what busy knows
    assert rank_correlation(score, quality, groups).value < -0.5
    assert abs(rank_correlation(score, quality, groups, given=[busy]).value) < 0.05


def test_partial_correlation_has_a_closed_form() -> None:
    _, *values = made(12, 1.0, 1.0, 1.0)
    ab, ac, bc = (rank_correlation(values[i], values[j], GROUPS).value for i, j in ((0, 1), (0, 2), (1, 2)))
    expected = (ab - ac * bc) / ((1 - ac**2) * (1 - bc**2)) ** 0.5
    assert rank_correlation(values[0], values[1], GROUPS, given=[values[2]]).value == pytest.approx(expected)


def test_ranks_are_centred() -> None:
    values, groups = torch.tensor([3.0, 1.0, 2.0, 9.0, 5.0, 5.0]), torch.tensor([0, 0, 0, 1, 2, 2])
    assert centred_ranks(values, groups).tolist() == [0.5, -0.5, 0, 0, 0, 0]
