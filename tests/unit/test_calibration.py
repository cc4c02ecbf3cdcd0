"""Calibration: order statistics, the sample of many images and its error, what has to agree."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from uncertainty import PROBED, UncertaintyMap
from uncertainty import settings as declared
from uncertainty.calibration import KEPT, Calibration
from uncertainty.thresholds import Thresholds

SETTINGS = {"samples": 5, "window": [0.9, 0.98], "model": "a1b2", "seed": 3, "strength": 0.0}


def measured(values: Tensor, steps: tuple[int, ...] = (7,), **changed: Any) -> UncertaintyMap:
    """A map with these score variances (S, B, C, *spatial); the other quantities are two and three times as much."""
    return UncertaintyMap(
        quantities={name: factor * values for factor, name in enumerate(PROBED, start=1)},
        standard_errors={name: torch.zeros(values.shape[:2]) for name in PROBED},
        steps=steps,
        total_steps=10,
        sigmas=torch.arange(len(steps), 0, -1.0),
        settings=SETTINGS | changed,
    )


def calibrated(maps: Iterable[UncertaintyMap], state: Calibration | None = None) -> Calibration:
    for found in maps:
        state = (state or Calibration.like(found)).add(found)
    assert state is not None
    return state


def numbered(count: int, batch: int, elements: int = 1) -> Iterable[UncertaintyMap]:
    """Images in batches; the elements of image i are i, then shuffled numbers 0 to count - 1."""
    rng = torch.Generator().manual_seed(0)
    columns = [torch.arange(count), *(torch.randperm(count, generator=rng) for _ in range(elements - 1))]
    images = torch.stack(columns, 1).float()
    return [measured(chunk[None, :, None]) for chunk in images.split(batch)]


def same(a: Calibration, b: Calibration) -> bool:
    parts: list[Mapping[str, Tensor]] = [{"values": c.values, "recent": c.recent} | dict(c.scores) for c in (a, b)]
    return a.count == b.count and all(torch.equal(parts[0][name], parts[1][name]) for name in parts[0])


@pytest.mark.parametrize(
    ("percentile", "expected"),
    [(0, 10.0), (20, 10.0), (20.1, 20.0), (50, 30.0), (80, 40.0), (80.1, 50.0), (95, 50.0), (100, 50.0)],
)
def test_tau_is_an_order_statistic(percentile: float, expected: float) -> None:
    images = torch.tensor([30.0, 10, 50, 20, 40])
    found = calibrated([measured(images.reshape(1, 5, 1, 1))]).thresholds(percentile)
    assert found.tau[7].tolist() == [[[expected]]]


@pytest.mark.parametrize("shape", [(2, 6), (3, 4, 5), (2, 3, 4, 5)])
def test_tau_is_made_per_step_channel_and_pixel(shape: tuple[int, ...]) -> None:
    values = torch.rand(2, 9, *shape, generator=torch.Generator().manual_seed(1))
    found = calibrated([measured(values[:, :4], (7, 8)), measured(values[:, 4:], (7, 8))]).thresholds(50)
    for row, step in enumerate((7, 8)):
        assert found.at(step, (4, *shape)).shape == (1, *shape)
        torch.testing.assert_close(found.tau[step][0], values[row].median(0).values, rtol=0, atol=0)


def test_scores_are_sorted_and_those_of_the_maps() -> None:
    values = torch.rand(2, 6, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    found = measured(values, (7, 8))
    scores = calibrated([found]).thresholds(95).scores
    for name in PROBED:
        assert torch.equal(scores[name], found.score(name).value.sort().values)


def test_what_is_kept_stays_the_same_size_over_10_000_images() -> None:
    sizes = set()
    state = None
    for found in numbered(10_000, 8):
        state = (state or Calibration.like(found)).add(found)
        if state.count >= KEPT:
            sizes.add(tuple(t.numel() for t in (state.values, state.recent, *state.scores.values())))
    assert state is not None and state.count == 10_000
    assert sizes == {(KEPT,) * (2 + len(PROBED))}


def test_the_rank_of_tau_is_off_by_no_more_than_stated() -> None:
    """In 95 of 100 elements, in any order of the images; and were the bound a third narrower, it would not hold."""
    total, percentile = 10_000, 95
    state = calibrated(numbered(total, 100, elements=2000))
    bound = state.rank_error(percentile)
    assert bound == pytest.approx(1.89, abs=0.01)
    tau = state.thresholds(percentile).tau[7].flatten()
    off = (100 * (tau + 1) / total - percentile).abs()  # tau is the number of images below it
    assert off[0] <= bound  # images that came in ascending order
    assert 0.94 < (off <= bound).float().mean() < 0.97
    assert (off <= bound * 2 / 3).float().mean() < 0.90


@pytest.mark.parametrize("percentile", [5, 25, 50, 75, 95])
def test_images_that_drift_are_sampled_evenly(percentile: float) -> None:
    state = calibrated(numbered(10_000, 100))
    tau = float(state.thresholds(percentile).tau[7])
    assert abs(100 * tau / 10_000 - percentile) <= state.rank_error(percentile)
    # Every tenth of the run is there as often as chance has it (four standard deviations).
    tenths = state.values.flatten().div(1000).long().bincount(minlength=10)
    assert (tenths - KEPT / 10).abs().max() < 4 * math.sqrt(KEPT * 0.1 * 0.9)


def test_the_rank_is_exact_as_long_as_every_image_is_kept() -> None:
    state = calibrated(numbered(KEPT, 64))
    assert state.rank_error(95) == 0
    assert state.thresholds(95).tau[7].tolist() == [[[math.ceil(KEPT * 0.95) - 1]]]
    assert calibrated(numbered(KEPT + 1, 64)).rank_error(95) > 0


def test_the_size_of_the_batches_changes_nothing() -> None:
    assert same(calibrated(numbered(1500, 1)), calibrated(numbered(1500, 7)))


def test_an_image_is_counted_once() -> None:
    first, second = numbered(8, 4)
    state = calibrated([first, second, first])
    assert state.count == 8 and same(state, calibrated([first, second]))
    assert calibrated([measured(first.values[:, [0, 0, 1]])]).count == 2


def test_adding_leaves_the_state_before_as_it_was() -> None:
    first, second = numbered(8, 4)
    state = calibrated([first])
    before = state.values.clone()
    state.add(second)
    assert state.count == 4 and torch.equal(state.values, before)
    with pytest.raises(TypeError):
        state.settings["samples"] = 9  # type: ignore[index]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"samples": 7}, "other settings.*use another name.*samples: 5 in the calibration, 7 now"),
        ({"model": "ffff"}, "model: 'a1b2' in the calibration, 'ffff' now"),
        ({"window": [0.8, 0.98]}, r"window: \[0.9, 0.98\] in the calibration, \[0.8, 0.98\] now"),
    ],
)
def test_settings_that_must_agree_are_named(changed: dict[str, Any], message: str) -> None:
    (first,) = numbered(4, 4)
    state = calibrated([first])
    with pytest.raises(ValueError, match=message):
        state.add(replace(first, settings={**first.settings, **changed}))
    with pytest.raises(ValueError, match=next(iter(changed))):
        state.thresholds(95).check({**first.settings, **changed})


def test_settings_that_do_not_matter_may_differ() -> None:
    first, second = numbered(8, 4)
    other = {setting.name: "other" for setting in declared.SETTINGS if not setting.compared and setting.name != declared.GUIDED}
    state = calibrated([first, replace(second, settings={**second.settings, **other})])
    assert state.count == 8
    assert set(state.settings) == {"samples", "window", "model", declared.GUIDED}
    state.thresholds(95).check({**first.settings, **other})


def test_a_calibration_is_of_the_quantity_that_guides() -> None:
    first, second = numbered(8, 4)
    old = replace(calibrated([first]), settings={"samples": 5})  # from a version that had only the paper's
    assert torch.equal(old.add(second).values, calibrated([first, second]).values)
    other = {declared.GUIDED: "denoised_variance"}
    with pytest.raises(ValueError, match="guided_quantity: 'score_variance' in the calibration, 'denoised_variance' now"):
        old.add(replace(second, settings={**second.settings, **other}))
    found = calibrated(replace(each, settings={**each.settings, **other}) for each in (first, second))
    assert torch.equal(found.values[:4], first.quantities["denoised_variance"].transpose(0, 1))


def test_the_report_says_how_many_and_how_exact() -> None:
    (found,) = numbered(101, 101)
    state = calibrated([found])
    lines = state.report(95, 101).splitlines()
    assert lines[:2] == ["101 images, 101 of them new", "thresholds at percentile 95 from 101 kept images: exact"]
    # The numbers 0 to 100, the quantities once, twice and three times.
    assert lines[2:] == [
        f"{name}: median score {50 * factor}, 90 % between {5 * factor} and {95 * factor}"
        for factor, name in enumerate(PROBED, start=1)
    ]
    assert "0 of them new (all were already counted)" in state.report(95, 0)
    assert "from 512 kept images: within 1.9 points of 95 at 95 %" in calibrated(numbered(600, 100)).report(95, 100)


def test_maps_that_do_not_fit_are_named() -> None:
    values = torch.rand(2, 3, 4, 6, 5)
    found = measured(values, (7, 8))
    state = calibrated([found])
    with pytest.raises(ValueError, match=r"recorded steps: \[7, 8\] in the calibration, \[7\] now"):
        state.add(measured(values[:1], (7,)))
    with pytest.raises(ValueError, match=r"latent shape: \[4, 6, 5\] in the calibration, \[4, 5, 5\] now"):
        state.add(measured(values[..., :5, :], (7, 8)))
    with pytest.raises(ValueError, match=r"other noise levels \(\[2.0, 1.0\] in the calibration, \[2.0, 1.5\] now"):
        state.add(replace(found, sigmas=torch.tensor([2.0, 1.5])))
    with pytest.raises(ValueError, match="noise mask.*calibrate without a noise mask"):
        state.add(replace(found, mask=torch.ones(3, 1, 6, 5)))
    values[1, 2, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="image 2 of the map has values that are not finite"):
        state.add(measured(values, (7, 8)))


def test_thresholds_need_images_and_a_percentile() -> None:
    (found,) = numbered(4, 4)
    with pytest.raises(ValueError, match="holds no images"):
        Calibration.like(found).thresholds(95)
    with pytest.raises(ValueError, match="percentile must be between 0 and 100, got 101"):
        calibrated([found]).thresholds(101)


def test_thresholds_of_another_latent_size_are_refused() -> None:
    thresholds = Thresholds({3: torch.zeros(1, 4, 8, 8), 4: torch.tensor(0.5)})
    assert thresholds.at(3, (2, 4, 8, 8)).shape == (1, 4, 8, 8)
    assert thresholds.at(4, (2, 4, 16, 16)) == 0.5  # one number fits everything
    for shape in [(2, 4, 16, 16), (2, 16, 8, 8), (2, 4, 1, 8), (4, 8, 8)]:
        with pytest.raises(ValueError, match=r"calibrated on latents of shape \[4, 8, 8\], but these have shape"):
            thresholds.at(3, shape)
