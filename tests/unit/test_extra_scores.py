"""Scores of other programs: what is taken for numbers and names, the mean rank, and where they are kept."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from made_maps import made
from uncertainty.choosing.mean_rank import mean_rank
from uncertainty.extra_scores import ExtraScore, check_name, numbers
from uncertainty.maps import UncertaintyMap
from uncertainty.storage import picture_entry
from uncertainty.storage.fingerprints import fingerprint
from uncertainty.storage.ledger import Ledger
from uncertainty.storage.tensor_files import load_map, save_map

NAN = float("nan")


def scored(images: int, seed: int = 0, **extra: ExtraScore) -> UncertaintyMap:
    """A map in which image i has a score of about i, with extra scores."""
    return replace(made(images, seed), extra_scores=extra)


def extra(*values: float, higher_is_better: bool = True) -> ExtraScore:
    return ExtraScore(torch.tensor(values, dtype=torch.float64), higher_is_better)


@pytest.mark.parametrize(
    "value",
    [
        [1.0, 2.0, 3.0],
        [[1.0, 2.0, 3.0]],
        [torch.tensor([1.0, 2.0, 3.0])],
        [torch.tensor([[1.0], [2.0], [3.0]])],
        [torch.tensor(1.0), np.float32(2), 3],
        [np.array([1, 2]), (3,)],
    ],
)
def test_numbers_come_in_many_forms(value: object) -> None:
    assert numbers("pickscore", value).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("value", [NAN, math.inf, "0.5", None, True, {"score": 1.0}, 1e300])
def test_what_is_no_number_is_named(value: object) -> None:
    with pytest.raises(ValueError, match="scores must be finite numbers, but number 1 of pickscore is"):
        numbers("pickscore", [0.5, value])
    with pytest.raises(ValueError, match="scores of pickscore are empty"):
        numbers("pickscore", [[]])
    with pytest.raises(ValueError, match="scores of pickscore are more than 100000 numbers"):
        numbers("pickscore", [torch.zeros(2, 300, 300, 3)])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "name must be a text of 1 to 60 characters"),
        (" pickscore", "name must be a text"),
        ("a\nb", "name must be a text"),
        ("x" * 61, "name must be a text"),
        (3, "name must be a text"),
        ("denoised_variance", "name denoised_variance belongs to a score of this pack: choose another name"),
        ("mc_dropout", "name mc_dropout belongs to a score of this pack"),
        ("pickscore", "name pickscore belongs to another extra score of these images"),
    ],
)
def test_names_are_checked(name: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_name(name, {"pickscore": 1})
    check_name("HPS v2.1 – Ästhetik")


def test_the_mean_rank_by_hand() -> None:
    scores = torch.tensor([0.1, 0.2, 0.3])  # high is bad: ranks 0, 1, 2
    liked = -torch.tensor([5.0, 7.0, 6.0])  # high is good: ranks 2, 0, 1
    assert mean_rank(scores, [liked], "highest").tolist() == [0.5, 0.25, 0.75]
    assert mean_rank(scores, [], "highest").tolist() == [0.0, 0.5, 1.0]
    assert mean_rank(-scores, [liked], "lowest").tolist() == [0.5, 0.75, 0.25]
    assert mean_rank(torch.tensor([0.1, 0.1]), [torch.tensor([1.0, 2.0])], "highest").tolist() == [0.25, 0.75]
    ranked = mean_rank(torch.tensor([0.3, NAN, 0.1]), [torch.tensor([2.0, 1.0, 3.0])], "highest")
    assert ranked[1].isnan() and ranked[[0, 2]].tolist() == [0.5, 0.5]
    assert mean_rank(torch.tensor([0.3]), [torch.tensor([1.0])], "highest").tolist() == [0.0]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=8))
def test_the_mean_rank_depends_on_order_alone(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = torch.tensor(pairs, dtype=torch.float64).T
    ranked = mean_rank(ours, [theirs], "highest")
    assert bool(((ranked >= 0) & (ranked <= 1)).all())
    assert torch.equal(ranked, mean_rank(8 * ours, [theirs / 4], "highest"))
    torch.testing.assert_close(mean_rank(ours, [theirs], "lowest"), 1 - mean_rank(-ours, [theirs], "highest"))


def test_a_map_keeps_them_aligned() -> None:
    found = scored(3, pickscore=extra(7.0, 8.0, 9.0))
    assert found.select([2, 0]).extra_scores["pickscore"].values.tolist() == [9.0, 7.0]
    with pytest.raises(ValueError, match=r"the map's pickscore must have shape \(3,\), got \(2,\)"):
        scored(3, pickscore=extra(7.0, 8.0))


def test_files_of_maps_keep_them(tmp_path: Path) -> None:
    found = scored(2, pickscore=extra(0.1, -3.5), distance=extra(1.0, 2.0, higher_is_better=False))
    save_map(tmp_path / "map.safetensors", found)
    read = load_map(tmp_path / "map.safetensors").extra_scores
    assert list(read) == ["pickscore", "distance"]
    assert read["pickscore"].values.tolist() == [0.1, -3.5]
    assert [score.higher_is_better for score in read.values()] == [True, False]
    save_map(tmp_path / "plain.safetensors", made(2))
    assert not load_map(tmp_path / "plain.safetensors").extra_scores


def test_pictures_keep_them(tmp_path: Path) -> None:
    found = scored(2, pickscore=extra(0.1, 0.2), distance=extra(1.0, 2.0, higher_is_better=False))
    path = tmp_path / "x.png"
    path.write_bytes(picture_entry.png(torch.zeros(8, 8, 3), {picture_entry.ENTRY: picture_entry.entry(found, 1)}))
    known = picture_entry.read(path)
    assert known is not None
    assert known.extra_scores == {"pickscore": (0.2, True), "distance": (2.0, False)}
    assert json.loads(picture_entry.entry(made(1), 0))["extra_scores"] == {}


def test_the_ledger_keeps_them_by_image(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    plain, found = made(2), scored(2, pickscore=extra(0.1, 0.2), distance=extra(1.0, 2.0))
    name = ledger.record(plain)
    assert ledger.extra_scores(name, "p", "denoised_variance", ["pickscore"])[0] == []
    ledger.record(found, ["0.png", "1.png"])  # the same images: the sampler recorded them, then they were scored and saved
    ledger.record(scored(2, 1, pickscore=extra(0.3, 0.4)))
    digests, table = ledger.extra_scores(name, "p", "denoised_variance", ["pickscore"])
    assert len(set(digests)) == 4
    assert sorted(table[:, 1].tolist()) == [0.1, 0.2, 0.3, 0.4]
    order = table[:, 1].argsort()
    ours = torch.cat([found.score().value, scored(2, 1).score().value]).double()
    torch.testing.assert_close(table[order, 0], ours)
    digests, table = ledger.extra_scores(name, "p", "denoised_variance", ["distance", "pickscore"])
    assert table[:, 1:].tolist() == [[1.0, 0.1], [2.0, 0.2]]
    assert ledger.extra_scores(name, "q", "denoised_variance", ["pickscore"])[0] == []
    assert len(ledger.extra_scores(name, None, "denoised_variance", ["pickscore"])[0]) == 4
    ledger.record(scored(2, pickscore=extra(5.0, 6.0)))  # scored again
    assert sorted(ledger.extra_scores(name, "p", "denoised_variance", ["pickscore"])[1][:, 1].tolist()) == [0.3, 0.4, 5.0, 6.0]
    assert fingerprint(found) == fingerprint(plain)
