"""Tables of screening from made images: what is mended and harmed, and which originals are kept."""

import pytest
import torch

from testbed import screened
from testbed.prompts import Prompt
from testbed.screened import BASE, Drawn

QUALITY = "confidence (one)"
PROMPTS = [Prompt("choosing", "plain", text, (text,), "", (text,)) for text in ("cat", "dog")]


def drawn(*confidence: float) -> Drawn:
    """Images whose pixels are their confidence."""
    values = torch.tensor(confidence)
    return Drawn(values[:, None, None, None].expand(-1, 3, 2, 2), {QUALITY: values}, 20)


def test_mended_and_harmed_are_shares_of_broken_and_whole_images() -> None:
    groups = torch.arange(2).repeat_interleave(4)
    arms = {BASE: drawn(0.1, 0.2, 0.8, 0.9, 0.1, 0.7, 0.7, 0.7), "arm": drawn(0.9, 0.2, 0.1, 0.9, 0.6, 0.7, 0.7, 0.7)}
    rows = {row[0]: row for row in screened.repair(arms, groups, QUALITY).rows}
    assert rows["arm"][2:4] == (3, pytest.approx(2 / 3))
    assert rows["arm"][5:7] == (5, pytest.approx(1 / 5))
    assert rows[BASE][3] == rows[BASE][6] == 0


def test_the_surest_of_four_stays_as_it_is() -> None:
    before, after = {"denoised_variance": [4.0, 1.0, 3.0, 2.0]}, {"denoised_variance": [3.0, 2.0, 3.0, 1.0]}
    scores = [part | {"denoising_loss": part["denoised_variance"]} for part in (before, after)]
    units = {(prompt.text, "arm"): {"scores": scores} for prompt in PROMPTS}
    base, restarted = drawn(*[0.0] * 8), drawn(*[1.0] * 8)
    found = screened.choices("arm", {BASE: base, "arm": restarted}, units, PROMPTS)
    assert found["arm, but the surest of 4"].qualities[QUALITY].tolist() == [1, 0, 1, 1] * 2
    kept = found["arm, kept by denoised_variance"]
    assert kept.qualities[QUALITY].tolist() == kept.pixels.mean((1, 2, 3)).tolist() == [1, 0, 0, 1] * 2
    rows = {row[0]: row for row in screened.changes({BASE: base, **found}, torch.arange(2).repeat_interleave(4)).rows}
    assert rows["arm, kept by denoised_variance"][3] == pytest.approx(0.5)


def test_settings_are_pooled() -> None:
    both = Drawn.joined([drawn(0.1, 0.2), drawn(0.3)])
    assert both.qualities[QUALITY].tolist() == [torch.tensor(value).item() for value in (0.1, 0.2, 0.3)]
    assert len(both.pixels) == 3
