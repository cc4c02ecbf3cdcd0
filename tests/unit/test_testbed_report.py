"""Tables of the test bed from rows with a planted signal, and what judges and nearness say of made pictures."""

from math import nan
from pathlib import Path

import pytest
import torch

from testbed import judged, report
from testbed.judges import BODIES, Judge, Network, weights
from testbed.train_judges import halves

PROMPTS, IMAGES = 24, 8
GOOD, IDLE = "denoised_variance@0.85", "score_variance@0.85"


def setting(seed: int) -> report.Rows:
    """A setting in which one score knows the quality, another nothing; the first half of the prompts has no likeness."""
    rng = torch.Generator().manual_seed(seed)
    prompts = torch.arange(PROMPTS).repeat_interleave(IMAGES)
    quality, own, idle, busy, near = (torch.randn(len(prompts), generator=rng).double() for _ in range(5))
    columns = {
        GOOD: -quality + 0.5 * own, IDLE: idle,
        "confidence (one)": quality.sigmoid(), "confidence (other)": (quality + own).sigmoid(),
        "likeness (one)": torch.where(prompts < PROMPTS // 2, nan, quality), report.BUSY: busy, report.NEAR: near,
    }  # fmt: skip
    return report.Rows(prompts, columns)


@pytest.fixture
def settings() -> list[report.Rows]:
    return [setting(0), setting(1)]


def test_a_score_that_is_high_for_sure_images_is_turned(settings: list[report.Rows]) -> None:
    assert torch.equal(settings[0].badness(IDLE), -settings[0].columns[IDLE])
    assert torch.equal(settings[0].badness(GOOD), settings[0].columns[GOOD])


def test_the_table_tells_the_score_that_knows(settings: list[report.Rows]) -> None:
    found = {row[:3]: row[3] for row in report.table(settings, 0.4).rows}
    assert set(found) >= {(score, "confidence (one)", "ROC area") for score in (GOOD, IDLE, report.BUSY)}
    assert found[GOOD, "confidence (one)", "ROC area"] > 0.9
    assert abs(found[IDLE, "confidence (one)", "ROC area"] - 0.5) < 0.1
    assert found[GOOD, "likeness (one)", "share of best of 4"] > 0.7
    assert found[GOOD, "confidence (one)", "given variation and nearness"] < -0.8
    assert (GOOD, "likeness (one)", "ROC area") not in found


def test_the_better_score_is_better_after_correction(settings: list[report.Rows]) -> None:
    rows = report.comparisons(settings, GOOD, 0.4).rows
    assert {row[0] for row in rows} == {IDLE, report.BUSY}
    assert all(row[3] > 0 and row[5] < row[6] < 0.05 for row in rows if row[1] == "confidence (one)")


def test_early_culling_is_compared_with_finished_images(settings: list[report.Rows]) -> None:
    """The early score knows the quality as well as the late one, and chooses among more images."""
    early = [
        report.Rows(rows.prompts, {**rows.columns, "drift@0.3": rows.columns[GOOD], report.CHOSEN[0]: -rows.columns[GOOD]})
        for rows in settings
    ]
    found = {row[1]: row for row in report.early_culling(early).rows}
    for quality in ("confidence (one)", "likeness (one)"):
        score, _, random, finished, started, gap, _ = found[quality]
        assert score == "drift@0.3" and random < finished < started
        assert gap == pytest.approx(started - finished)


def test_judges_agree_with_each_other_and_not_with_nearness(settings: list[report.Rows]) -> None:
    found = {row[:2]: row[2] for row in report.judges(settings).rows}
    assert found["confidence (one)", "confidence (other)"] > 0.5
    assert found["confidence (one)", "likeness (one)"] == pytest.approx(1)
    assert abs(found["confidence (one)", report.NEAR]) < 0.2


def test_broken_shares_are_counted_by_setting() -> None:
    rows = report.Rows(torch.tensor([0, 0, 1, 1]), {"confidence (one)": torch.tensor([0.2, 0.9, 0.8, 0.9])})
    assert report.broken_shares(["a"], [rows], 0.5).rows == [("a", pytest.approx(0.25), pytest.approx(0.5))]


def test_rows_come_back_from_their_file(tmp_path: Path) -> None:
    lines = [
        {"text": text, "kind": "plain", GOOD: "0.5", "confidence (one)": "0.25", "likeness (one)": "nan", "nearness": "-1",
         "total_variation": "2"}
        for text in ("cat", "cat", "dog")
    ]  # fmt: skip
    path = tmp_path / "rows.csv"
    path.write_text(judged.as_csv(lines), encoding="utf-8")
    rows = report.read(path)
    assert rows.prompts.tolist() == [0, 0, 1]
    assert rows.columns["likeness (one)"].isnan().all() and rows.columns["confidence (one)"].tolist() == [0.25] * 3


def test_nearness_finds_smaller_and_mirrored_copies() -> None:
    rng = torch.Generator().manual_seed(0)
    shown = torch.nn.functional.interpolate(torch.rand(3, 3, 4, 4, generator=rng), 64, mode="bilinear")
    near = judged.Pixels(shown)
    assert near(shown.flip(3)).tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert near(judged._shrunk(shown, 2 / 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-3)
    assert float(near(torch.zeros(1, 3, 64, 64))) == pytest.approx(
        -float((shown.square().mean((1, 2, 3)).sqrt()).min()), abs=0.03
    )


def test_joined_pictures_share_an_image() -> None:
    side = halves(400, torch.Generator().manual_seed(0))
    share = side.mean((1, 2, 3))
    assert 0.3 < float((share < 1).float().mean()) < 0.5
    assert set(side.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("body", BODIES)
def test_networks_have_two_heads(body: str) -> None:
    network = Network(body, 7, 5).eval()
    embedding, emoji, words = network(torch.zeros(2, 3, 64, 64))
    assert (embedding.shape, emoji.shape, words.shape) == ((2, 128), (2, 7), (2, 5))


SHIPPED = [body for body in BODIES if weights(body).is_file()]


def test_a_judge_is_shipped() -> None:
    assert "convolutions" in SHIPPED


@pytest.mark.parametrize("body", SHIPPED)
def test_shipped_judges_know_their_pictures(body: str) -> None:
    judge = Judge(body)
    assert weights(body).stat().st_size < 3 * 2**20
    assert len(judge.labels) == 414
    _, emoji, words = judge.seen(torch.ones(2, 3, 32, 32))  # any size
    assert torch.allclose(emoji.sum(1), torch.ones(2))
    names = ("cat face", "dog face")
    both = judge.confidence(emoji, words, names, ())
    assert torch.allclose(both, sum(judge.confidence(emoji, words, (name,), ()) for name in names))  # type: ignore[arg-type]
    least = judge.confidence(emoji, words, (), ("panda", "face", "tears"))
    assert torch.equal(least, words[:, [judge.words.index("panda"), judge.words.index("tears")]].min(1).values)


def test_a_quality_that_no_image_has_is_left_out(settings: list[report.Rows]) -> None:
    combined = [
        report.Rows(rows.prompts, {**rows.columns, "likeness (one)": torch.full((len(rows.prompts),), nan)}) for rows in settings
    ]
    assert {row[1] for row in report.table(combined, 0.4).rows} == {"confidence (one)", "confidence (other)"}


def test_the_summary_has_a_row_for_each_score(settings: list[report.Rows]) -> None:
    found = report.summary(report.table(settings, 0.4))
    assert found.head[1] == "ROC area, confidence (one)"
    assert [row[0] for row in found.rows] == [GOOD, IDLE, report.BUSY]
    assert all("to" in str(cell) for row in found.rows for cell in row[1:])
