"""Keeping and rejecting images."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertainty.choosing.by_hand import UNDECIDED, ByHand, Verdicts
from uncertainty.choosing.cut import Rule
from uncertainty.choosing.selection import select
from uncertainty.choosing.standing import FEWEST, Comparison, compare, place, stand, within
from uncertainty.scores import Score
from uncertainty.thresholds import Thresholds

NAN = float("nan")
SCORES = [0.4, 0.1, 0.3, NAN, 0.2]


def run(
    scores: list[float] = SCORES,
    *,
    thresholds: Thresholds | None = None,
    comparison: Comparison | None = None,
    verdicts: Verdicts = UNDECIDED,
    **rule: object,
) -> tuple[tuple[int, ...], tuple[int, ...], str]:
    score = Score(torch.tensor(scores), torch.full((len(scores),), 0.01))
    chosen = select(
        score,
        Rule(**rule),  # type: ignore[arg-type]
        quantity="denoised_variance",
        thresholds=thresholds,
        comparison=comparison,
        verdicts=verdicts,
    )
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


def test_scores_without_standard_error_are_told_without_one() -> None:
    """Drift and baselines have none."""
    score = Score(torch.tensor([0.25, 0.5]), torch.tensor([0.125, NAN]))
    report = select(score, Rule(), quantity="drift").report
    assert "image 0: 0.25 ± 0.12  kept" in report
    assert "image 1: 0.5  rejected" in report


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


def by_hand(keep: set[int] = frozenset(), reject: set[int] = frozenset()) -> Verdicts:  # type: ignore[assignment]
    return Verdicts(frozenset(keep), frozenset(reject))


@pytest.mark.parametrize(
    ("quantity", "reject", "note"),
    [
        ("denoised_variance", "highest", ""),
        ("denoised_variance", "lowest", "a low denoised_variance is good, but reject is lowest: set it to highest"),
        ("prompt_information", "lowest", ""),
        ("prompt_information", "highest", "a high prompt_information is good, but reject is highest: set it to lowest"),
        ("mean rank", "lowest", ""),
    ],
)
def test_the_report_says_if_the_good_end_is_rejected(quantity: str, reject: str, note: str) -> None:
    score = Score(torch.tensor([0.1, 0.2]), torch.zeros(2))
    second = select(score, Rule("keep_best", 1, reject=reject), quantity=quantity).report.splitlines()[1]
    assert second == note if note else "image" in second
    ranked = select(score, Rule("keep_best", 1, reject=reject), quantity="mean rank", scored=quantity).report.splitlines()[1]
    assert ranked == second


def test_verdicts_by_hand_and_the_number_to_keep() -> None:
    """Best first, the images are 1, 4, 2, 0; image 3 has no valid score."""
    for rule in ({"mode": "keep_best", "keep": 2}, {"mode": "percentile", "percentile": 50}):
        assert run(**rule, verdicts=by_hand(keep={0}))[0] == (0, 1)
        assert run(**rule, verdicts=by_hand(keep={3}))[0] == (1, 3)
        assert run(**rule, verdicts=by_hand(reject={1}))[0] == (2, 4)
        assert run(**rule, verdicts=by_hand(keep={0, 2, 3}))[0] == (0, 2, 3)
        assert run(**rule, verdicts=by_hand(keep={0}, reject={1, 2, 4}))[0] == (0,)


def test_verdicts_by_hand_leave_the_others_to_a_threshold() -> None:
    assert run(mode="threshold", threshold=0.25, verdicts=by_hand(keep={0}, reject={1}))[:2] == ((0, 4), (1, 2, 3))
    thresholds = Thresholds({}, {"denoised_variance": torch.linspace(0, 1, 101)})
    assert run(mode="reference", percentile=25, thresholds=thresholds, verdicts=by_hand(keep={0}, reject={1}))[0] == (0, 4)


def test_when_none_pass_after_verdicts_by_hand() -> None:
    rule = {"mode": "threshold", "threshold": 0.15}
    for when, kept in (("block", ()), ("keep_best_one", (4,))):
        assert run(**rule, when_none_pass=when, verdicts=by_hand(reject={1}))[0] == kept
        assert run(**rule, when_none_pass=when, verdicts=by_hand(keep={0}, reject={1}))[0] == (0,)
        assert run(**rule, when_none_pass=when, verdicts=by_hand(reject={0, 1, 2, 4}))[0] == ()
    with pytest.raises(ValueError, match="no image passed mode threshold"):
        run(**rule, when_none_pass="error", verdicts=by_hand(reject={1}))


def test_mode_choose_waits_until_a_person_has_chosen() -> None:
    for rejected in (set(), {1, 2}):
        for when in ("block", "keep_best_one", "error"):
            kept, others, report = run(mode="choose", when_none_pass=when, verdicts=by_hand(reject=rejected))
            assert (kept, others) == ((), ())
            assert "denoised_variance, choose, rejecting the highest: choose among 5" in report
            assert (report.count("undecided"), report.count("rejected by hand")) == (5 - len(rejected), len(rejected))


def test_mode_choose_keeps_what_was_chosen() -> None:
    kept, others, report = run(mode="choose", verdicts=by_hand(keep={0, 3}, reject={1}))
    assert (kept, others) == ((0, 3), (1, 2, 4))
    assert "kept 2 of 5, 3 by hand\n" in report
    nobody = by_hand(reject={0, 1, 2, 3, 4})  # a choice, too
    assert run(mode="choose", when_none_pass="keep_best_one", verdicts=nobody)[:2] == ((), (0, 1, 2, 3, 4))
    with pytest.raises(ValueError, match="no image passed mode choose"):
        run(mode="choose", when_none_pass="error", verdicts=nobody)


def test_the_report_names_verdicts_by_hand() -> None:
    report = run(mode="keep_best", keep=2, verdicts=Verdicts(frozenset({3}), frozenset({1}), 2))[2]
    assert "kept 2 of 5, 2 by hand\n" in report
    assert report.count("not used: 2 verdicts by hand on images of other batches") == 1
    assert re.findall(r"image (\d): .*  (\w+ by hand)$", report, re.MULTILINE) == [
        ("1", "rejected by hand"),
        ("3", "kept by hand"),
    ]
    assert "without a valid score" not in report  # image 3, the only one, is kept
    assert "hand" not in run(mode="keep_best", keep=2)[2]


def test_verdicts_by_hand_are_of_images() -> None:
    text = '{"keep": ["a", 2], "reject": ["b", "elsewhere"]}'
    assert ByHand.parse(text).on(["b", "a", "c"]) == Verdicts(frozenset({1, 2}), frozenset({0}), 1)
    assert ByHand.parse(text).on(["x", "y", "z"]) == Verdicts(frozenset({2}), frozenset(), 3)
    for nothing in ("", "  ", "{}", '{"keep": []}', '{"stars": {}}'):
        assert ByHand.parse(nothing).on(["a"]) == UNDECIDED


def test_stars_are_of_images() -> None:
    text = '{"stars": {"5": ["a", 2], "1": ["b", "elsewhere"]}}'
    assert ByHand.parse(text).on(["b", "a", "c"]) == Verdicts(stars={0: 1, 1: 5, 2: 5})
    assert ByHand.parse(text).on(["x", "y", "z"]) == Verdicts(stars={2: 5})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("keep 3", "Expecting value"),
        ("[1]", "got a list"),
        ('{"keeps": [1]}', "'keeps' is neither keep nor reject nor stars"),
        ('{"keep": 1}', "keep is 1, not a list"),
        ('{"reject": [-1]}', "reject contains -1, which is neither an index from 0 nor a digest"),
        ('{"keep": [true]}', "keep contains True"),
        ('{"keep": [1.5]}', "keep contains 1.5"),
        ([1], "it is a list"),
        ('{"stars": [3]}', "stars is [3], not an object"),
        ('{"stars": {"6": [0]}}', "stars has the key '6', where only 0 to 5 are possible"),
        ('{"stars": {"05": [0]}}', "stars has the key '05'"),
        ('{"stars": {"3": 0}}', "stars 3 is 0, not a list"),
        ('{"stars": {"3": [-1]}}', "stars 3 contains -1"),
    ],
)
def test_other_texts_than_verdicts_are_named(text: object, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)) as error:
        ByHand.parse(text)
    assert 'by_hand must be empty or JSON such as {"keep": [0, 3], "reject": [5]}' in str(error.value)


def test_verdicts_that_cannot_be_followed_are_named() -> None:
    with pytest.raises(
        ValueError, match="by_hand: reject names image 2, but this batch has 2, counted from 0: correct the index"
    ):
        ByHand.parse('{"reject": [0, 2]}').on(["a", "b"])
    with pytest.raises(ValueError, match="by_hand both keeps and rejects image 1: leave one of them out"):
        ByHand.parse('{"keep": ["b"], "reject": [1]}').on(["a", "b"])
    with pytest.raises(ValueError, match="by_hand: stars 4 names image 2, but this batch has 2"):
        ByHand.parse('{"stars": {"4": [2]}}').on(["a", "b"])
    with pytest.raises(ValueError, match="by_hand gives image 1 both 4 and 2 stars: leave one of them out"):
        ByHand.parse('{"stars": {"4": ["b"], "2": [1]}}').on(["a", "b"])


@given(
    scores=st.lists(st.sampled_from([0.0, 1.0, 2.0, NAN, float("inf")]), min_size=1, max_size=12),
    mode=st.sampled_from(["keep_best", "percentile", "threshold"]),
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
