"""Keeping and rejecting images."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertainty.choosing.cut import MODES, Rule
from uncertainty.choosing.selection import select
from uncertainty.choosing.standing import FEWEST, Comparison, compare, place, stand, within
from uncertainty.scores import Score
from uncertainty.thresholds import Thresholds

NAN = float("nan")
SCORES = [0.4, 0.1, 0.3, NAN, 0.2]


def run(
    scores: list[float] = SCORES, *, thresholds: Thresholds | None = None, comparison: Comparison | None = None, **rule: object
) -> tuple[tuple[int, ...], tuple[int, ...], str]:
    score = Score(torch.tensor(scores), torch.full((len(scores),), 0.01))
    chosen = select(score, Rule(**rule), quantity="denoised_variance", thresholds=thresholds, comparison=comparison)  # type: ignore[arg-type]
    return chosen.kept, chosen.rejected, chosen.report


def test_keep_best() -> None:
    assert run(mode="keep_best", keep=2)[:2] == ((1, 4), (0, 2, 3))
    assert run(mode="keep_best", keep=2, reject="lowest")[:2] == ((0, 2), (1, 3, 4))
    assert run(mode="keep_best", keep=99)[0] == (0, 1, 2, 4)


def test_percentile() -> None:
    assert run(mode="percentile", percentile=50)[0] == (1, 4)
    assert run(mode="percentile", percentile=51)[0] == (1, 2, 4)
    assert run(mode="percentile", percentile=100)[0] == (0, 1, 2, 4)
    assert run(mode="percentile", percentile=0)[0] == ()


def test_threshold() -> None:
    assert run(mode="threshold", threshold=0.25)[0] == (1, 4)
    assert run(mode="threshold", threshold=0.25, reject="lowest")[0] == (0, 2)


def test_reference() -> None:
    thresholds = Thresholds({}, {"denoised_variance": torch.linspace(0, 1, 101)})
    assert run(mode="reference", percentile=25, thresholds=thresholds)[0] == (1, 4)
    kept, _, report = run(mode="reference", percentile=75, reject="lowest", thresholds=thresholds)
    assert kept == (0, 2)
    assert "compared with 101 calibrated images, whatever their prompts" in report
    with pytest.raises(ValueError, match="connect thresholds"):
        run(mode="reference")


def test_scores_that_are_not_numbers_are_rejected_and_reported() -> None:
    for mode in ("keep_best", "percentile", "threshold"):
        kept, rejected, report = run(mode=mode, keep=5, percentile=100, threshold=9)
        assert 3 not in kept and 3 in rejected
        assert "rejected without a valid score: image 3" in report
    assert run([NAN, NAN], mode="keep_best", when_none_pass="keep_best_one")[0] == ()
    for invalid, reject in ((float("inf"), "lowest"), (-float("inf"), "highest")):
        found = run([invalid, 0.5], mode="percentile", percentile=0, reject=reject, when_none_pass="keep_best_one")
        assert found[0] == (1,)


@pytest.mark.parametrize("reject", ["highest", "lowest"])
def test_scores_that_are_not_numbers_are_compared_with_nothing(reject: str) -> None:
    scores = torch.tensor([0.1, 0.2, NAN])
    comparison = Comparison(within(scores), "compared with each other")
    report = run(scores.tolist(), mode="reference", reject=reject, comparison=comparison)[2]
    assert re.findall(r", (\S+) of (\d)$", report, re.MULTILINE) == [("1st", "2"), ("2nd", "2")]
    nothing = Comparison(within(torch.tensor([NAN])), "")
    assert "st of" not in run([NAN], mode="reference", reject=reject, comparison=nothing)[2]


def test_a_batch_is_compared_with_recorded_images_or_else_within_itself() -> None:
    scores = torch.tensor([30.0, 10.0, 20.0])
    few, enough = (torch.cat([scores, torch.arange(count) / 10]).sort().values for count in (FEWEST - 3, FEWEST - 2))
    compared = compare(scores, stand(scores, few), across_prompts=False)
    assert (
        compared.words
        == "compared within this batch: the ledger has 19 other images of the same prompt and settings, fewer than 20"
    )
    assert (compared.standing.lower.tolist(), compared.standing.count) == ([2, 0, 1], 3)
    compared = compare(scores, stand(scores, enough), across_prompts=False)
    assert compared.words == "compared with 20 other images of the same prompt and settings"
    assert compared.standing.lower.tolist() == [20, 18, 19]
    assert "any prompt: ranks mix easy and difficult prompts" in compare(scores, stand(scores, enough), across_prompts=True).words
    kept, _, report = run(scores.tolist(), mode="reference", percentile=90, comparison=compared)
    assert kept == (1,) and compared.words in report and "19th of 21" in report


def test_places_read_as_people_say_them() -> None:
    said = [place(number - 1, 200).split()[0] for number in (1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111, 123)]
    assert said == ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th", "123rd"]


def test_when_none_pass() -> None:
    rule = {"mode": "threshold", "threshold": -1.0}
    assert run(**rule, when_none_pass="block")[0] == ()
    assert run(**rule, when_none_pass="keep_best_one")[0] == (1,)
    with pytest.raises(ValueError, match="no image passed mode threshold on denoised_variance"):
        run(**rule, when_none_pass="error")


@given(
    scores=st.lists(st.sampled_from([0.0, 1.0, 2.0, NAN, float("inf")]), min_size=1, max_size=12),
    mode=st.sampled_from([m for m in MODES if m != "reference"]),
    keep=st.integers(1, 12),
    percentile=st.floats(0, 100),
    reject=st.sampled_from(["highest", "lowest"]),
)
def test_every_image_ends_on_one_side_in_order(scores: list[float], mode: str, keep: int, percentile: float, reject: str) -> None:
    kept, rejected, _ = run(scores, mode=mode, keep=keep, percentile=percentile, threshold=1.0, reject=reject)
    assert sorted(kept + rejected) == list(range(len(scores)))
    assert list(kept) == sorted(kept) and list(rejected) == sorted(rejected)
    finite = [i for i in rejected if scores[i] < float("inf")]
    better = (lambda a, b: a <= b) if reject == "highest" else (lambda a, b: a >= b)
    assert all(better(scores[k], scores[r]) for k in kept for r in finite)


def test_unknown_words_are_named() -> None:
    with pytest.raises(ValueError, match="mode must be one of .*got 'best'"):
        run(mode="best")
    with pytest.raises(ValueError, match="reject must be one of .*got 'up'"):
        run(reject="up")


def test_thresholds_name_what_differs() -> None:
    thresholds = Thresholds({3: torch.ones(1)}, settings={"samples": 5, "sampler": "euler"})
    thresholds.check({"samples": 5, "sampler": "euler", "seed": 1})
    with pytest.raises(ValueError, match="samples: 5 when calibrated, 7 now"):
        thresholds.check({"samples": 7, "sampler": "euler"})
    with pytest.raises(ValueError, match=r"thresholds cover steps \[3\], not step 4"):
        thresholds.at(4)


def test_thresholds_guide_by_their_own_quantity() -> None:
    earlier = Thresholds({3: torch.ones(1)}, settings={"samples": 5})  # from a version that had only the paper's
    earlier.check_guides("score_variance")
    with pytest.raises(ValueError, match="thresholds are of score_variance, but guided_quantity is denoised_variance: set"):
        earlier.check_guides("denoised_variance")
    named = Thresholds({3: torch.ones(1)}, settings={"samples": 5, "guided_quantity": "denoised_variance"})
    named.check_guides("denoised_variance")
    named.check({"samples": 5, "guided_quantity": "score_variance"})  # scores are the same whatever guides
    with pytest.raises(ValueError, match="thresholds are of denoised_variance, but guided_quantity is score_variance"):
        named.check_guides("score_variance")
