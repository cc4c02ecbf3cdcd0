"""Pairs that are judged by looking: the same in every call, sheets without values, and agreement with a planted score."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from testbed import pairs, report

IMAGES = 8
SETTINGS, TEXTS = ("demo, CFG 1", "styles, CFG 1"), ("cat face", "sun")
GOOD, CONSTANT, SURE = "denoised_variance@0.85", "drift", "prompt_information"


@pytest.fixture
def draws(tmp_path: Path) -> Path:
    """Drawn units in which image n of a prompt is a grey of 30 n."""
    for setting in SETTINGS:
        for text in TEXTS:
            path = tmp_path / "choosing" / setting / f"{text}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            greys = np.arange(IMAGES, dtype=np.uint8) * 30
            np.savez(path, images=np.broadcast_to(greys[:, None, None, None], (IMAGES, 64, 64, 3)))
    return tmp_path


def test_pairs_are_the_same_in_every_call(draws: Path) -> None:
    found = pairs.chosen("choosing", draws, 40)
    assert found == pairs.chosen("choosing", draws, 40)
    assert len({(pair.setting, pair.text, frozenset((pair.first, pair.second))) for pair in found}) == 40
    assert {pair.setting for pair in found[:2]} == set(SETTINGS)
    assert {pair.first < pair.second for pair in found} == {True, False}
    with pytest.raises(ValueError, match="run testbed.draw first"):
        pairs.chosen("confirming", draws)


def test_a_sheet_shows_the_two_images_of_each_pair(draws: Path) -> None:
    found = pairs.chosen("choosing", draws, 6)
    pixels = np.asarray(pairs.sheet(found, 0, "choosing", draws))
    for place, pair in enumerate(found):
        row, column = divmod(place, pairs.COLUMNS)
        top = row * (pairs.SIDE + pairs.LINE + pairs.GAP) + pairs.LINE + pairs.SIDE // 2
        left = column * (2 * pairs.SIDE + 2 * pairs.GAP) + pairs.GAP // 2 + pairs.SIDE // 2
        assert pixels[top, left, 0] == 30 * pair.first
        assert pixels[top, left + pairs.SIDE + 4, 0] == 30 * pair.second


def test_answers_are_kept_in_the_file_and_checked(draws: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    written = [replace(pair, better="same") for pair in pairs.chosen("choosing", draws, 5)]
    pairs.write(path, written)
    assert pairs.read(path) == written
    path.write_text(path.read_text().replace("same", "left", 1))
    with pytest.raises(ValueError, match=r"better of demo, CFG 1, .* 'left'"):
        pairs.read(path)


def test_agreement_tells_the_score_that_knows(draws: Path) -> None:
    """The darker image is judged to be the better one; one score says so, one the opposite, one nothing."""
    found = [
        replace(pair, better="first" if pair.first < pair.second else "second") for pair in pairs.chosen("choosing", draws, 40)
    ]
    found[0] = replace(found[0], better="same")
    place = torch.arange(IMAGES).repeat(len(TEXTS)).double()
    columns = {GOOD: place, CONSTANT: place * 0, SURE: place, "confidence (one)": -place}
    columns["likeness (one)"] = torch.where(torch.arange(len(place)) < IMAGES, torch.nan, -place)
    prompts = torch.arange(len(TEXTS)).repeat_interleave(IMAGES)
    rows = {setting: report.Rows(prompts, columns) for setting in SETTINGS}
    places = {(s, text, n): t * IMAGES + n for s in SETTINGS for t, text in enumerate(TEXTS) for n in range(IMAGES)}
    table = {line[0]: line[1:3] for line in pairs.agreement(found, rows, places).rows}
    assert table[GOOD] == table["confidence (one)"] == (39, 1.0)
    assert table[CONSTANT] == (39, 0.5)
    assert table[SURE] == (39, 0.0)  # high is sure
    count, share = table["likeness (one)"]
    assert count == sum(pair.text == TEXTS[1] for pair in found[1:])
    assert share == 1.0
