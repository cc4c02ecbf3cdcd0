"""Keeping and rejecting images."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertainty.choosing.cut import MODES, Rule
from uncertainty.choosing.selection import select
from uncertainty.choosing.standing import Standing
from uncertainty.scores import Score
from uncertainty.thresholds import Thresholds

NAN = float("nan")
SCORES = [0.4, 0.1, 0.3, NAN, 0.2]


def run(
    scores: list[float] = SCORES, *, thresholds: Thresholds | None = None, standing: Standing | None = None, **rule: object
) -> tuple[tuple[int, ...], tuple[int, ...], str]:
    score = Score(torch.tensor(scores), torch.full((len(scores),), 0.01))
    chosen = select(score, Rule(**rule), quantity="denoised_variance", thresholds=thresholds, standing=standing)  # type: ignore[arg-type]
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
    assert run(mode="reference", percentile=75, reject="lowest", thresholds=thresholds)[0] == (0, 2)
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
    recorded = scores[:2]  # a ledger ranks numbers alone; what is none sorts behind them
    lower, higher = torch.searchsorted(recorded, scores), 2 - torch.searchsorted(recorded, scores, right=True)
    report = run(scores.tolist(), mode="reference", reject=reject, standing=Standing(lower, higher, 2))[2]
    assert re.findall(r"better than (\S+) % of (\S+)", report) == [("100", "1"), ("0", "1")]
    nothing = torch.zeros(1, dtype=torch.int64)
    assert "better than" not in run([NAN], mode="reference", reject=reject, standing=Standing(nothing, nothing, 0))[2]


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
