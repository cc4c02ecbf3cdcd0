"""Tables of the protocols, on scores and qualities one knows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dev.launcher import mend_torchvision
from tables import read_table
from uncertainty.metrics.features import Features
from uncertainty.quantities import PROBED
from uncertainty.storage.records import ImageRecord
from uncertainty.window import Window
from uncertainty_runs.evaluation import course_protocol, filtering_protocol, judges, protocols, reconstruction_protocol, report
from uncertainty_runs.evaluation.filtering_protocol import Scored
from uncertainty_runs.evaluation.judges import Judged, Reference, named, named_probability, nearest

PROMPTS, EACH = 12, 10


def scored(seed: int = 0) -> tuple[Scored, Tensor]:
    """Images whose quality a method knows, another ignores and a third has upside down."""
    quality = torch.randn(PROMPTS * EACH, generator=torch.Generator().manual_seed(seed))
    noise = torch.randn(PROMPTS * EACH, generator=torch.Generator().manual_seed(seed + 1))
    prompts = torch.arange(PROMPTS).repeat_interleave(EACH)
    images = [ImageRecord({}, "", "", i, seed=0, prompt=f"prompt {int(p)}", file=f"{i}.png") for i, p in enumerate(prompts)]
    return Scored(images, {"knows": -quality, "ignores": noise, "inverts": quality}, prompts), quality


def test_a_method_that_knows_gains_everything_and_one_that_ignores_nothing() -> None:
    found, quality = scored()
    gains = {(row[1], row[2]): row for row in filtering_protocol.best_of(found, {"q": quality}, "t").rows}
    for k in (2, 4, 8):
        assert gains["knows", k][6] == pytest.approx(1)
        low, high = (float(part) for part in str(gains["ignores", k][7]).split(" to "))
        assert low < 0 < high
        assert float(gains["inverts", k][6]) < -0.9
    correlations = {(row[1], row[2]): row[3] for row in filtering_protocol.correlations(found, {"q": quality}, "t").rows}
    assert correlations["knows", "all images"] == pytest.approx(-1)
    assert correlations["inverts", "within prompt"] == pytest.approx(1)


def test_extra_scores_are_methods_too(tmp_path: Path) -> None:
    images = []
    for place, (likeness, distance) in enumerate([(0.9, 1.0), (0.2, 4.0)]):
        path = tmp_path / f"{place}.png"
        Image.new("RGB", (8, 8)).save(path)
        extra = {"likeness": (likeness, True), "distance": (distance, False)}
        images.append(ImageRecord({"drift": (1.0, 0.0)}, "", "", place, prompt="a cat", file=str(path), extra_scores=extra))
    badness = filtering_protocol.scored(images).badness
    assert list(badness) == ["drift", "distance", "likeness", filtering_protocol.BUSY]
    assert badness["distance"].tolist() == [1, 4] and badness["likeness"].tolist() == pytest.approx([-0.9, -0.2])
    with pytest.raises(ValueError, match="likeness judged 1 of 2 images: the folder holds runs of different settings"):
        filtering_protocol.scored([images[0], replace(images[1], extra_scores={"distance": (4.0, False)})])


def test_dropping_what_is_far_brings_the_rest_nearer() -> None:
    mend_torchvision()
    found, quality = scored()
    real = torch.randn(80, 6, generator=torch.Generator().manual_seed(7))
    # The lower the quality, the farther from the real ones.
    away = torch.randn(len(quality), 6, generator=torch.Generator().manual_seed(8)) + torch.relu(-quality)[:, None] * 2
    table = filtering_protocol.distances(found, Judged(away, {}), real, "t")
    rows = {row[:3]: row for row in table.rows}
    gain = table.head.index("gain over random")

    def interval(*key: str) -> list[float]:
        return [float(part) for part in str(rows[key][gain + 1]).split(" to ")]

    assert interval("knows", "all images", "worst")[0] > 0
    assert interval("knows", "all images", "best")[1] < 0
    assert rows["knows", "all images", "worst"][gain] == rows["inverts", "all images", "best"][gain]
    for scope in filtering_protocol.SCOPES:
        assert filtering_protocol.gains(table, scope, "g").head == ("method", "worst", "best")
        assert rows["random", scope, "any"][gain] == 0
        assert interval("knows", scope, "worst")[0] > 0
        low, high = interval("ignores", scope, "worst")
        assert low < 0 < high


def test_one_prompt_alone_is_resampled_by_image() -> None:
    found, quality = scored()
    alone = Scored(found.images, found.badness, torch.zeros(len(quality), dtype=torch.long))
    rows = {(row[1], row[2]): row for row in filtering_protocol.correlations(alone, {"q": quality}, "t").rows}
    assert str(rows["ignores", "all images"][4]).count(" to ") == 1
    gains = {(row[1], row[2]): row for row in filtering_protocol.best_of(alone, {"q": quality}, "t").rows}
    assert gains["knows", 4][6] == pytest.approx(1)
    assert gains["knows", 4][7] == "– to –"


def test_a_sixth_is_dropped_and_ties_keep_their_order() -> None:
    assert filtering_protocol.kept(torch.zeros(12)).tolist() == list(range(10))
    assert filtering_protocol.kept(torch.tensor([0.0, 5.0, 1.0, 2.0, 3.0, 4.0])).tolist() == [0, 2, 3, 4, 5]


def test_extremes_are_shown_in_pairs_of_the_same_prompt() -> None:
    prompts = torch.arange(5).repeat_interleave(3)
    badness = torch.tensor([2.0, 0, 1] * 5)
    best, worst = filtering_protocol.extremes(badness, prompts, 2, 1)
    assert (best, worst) == ([1, 7], [0, 6])  # prompts 0 and 2: spread over all
    assert filtering_protocol.extremes(badness, torch.zeros_like(prompts), 20, 2) == ([1, 4], [12, 9])


def test_the_course_finds_the_steps_that_rank() -> None:
    _, quality = scored()
    noise = torch.randn(2, len(quality), generator=torch.Generator().manual_seed(9))
    scores = torch.stack([noise[0], -quality, noise[1]])
    found = course_protocol.Course(dict.fromkeys(PROBED, scores), (2, 5, 9), 10, (3.0, 1.0, 0.1))
    assert found.within(Window(0.5, 1.0)) == [1, 2]
    prompts = torch.arange(PROMPTS).repeat_interleave(EACH)
    rows = course_protocol.ranking(found, prompts, {"q": quality}, [[0], [1], [1, 2]], "t").rows[:3]
    assert [row[2] for row in rows] == ["2", "5", "5 to 9"]
    assert float(rows[1][3]) < -0.95
    assert abs(float(rows[0][3])) < 0.25
    assert float(course_protocol.course(found, "t").rows[1][2]) == pytest.approx(float(-quality.mean()), abs=1e-6)


def test_prompts_name_captions_by_all_their_words() -> None:
    texts = ("cat face", "grinning cat face", "dog", "face cat")
    assert named("Cat face!", texts) == [0, 3]
    assert named("grinning", texts) == [1]
    assert named("bird", texts) == []


def test_likeness_and_confidence_are_of_what_the_prompt_names() -> None:
    real = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    images = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    found = nearest(images, real, ["cat", "dog", "bird"], ["cat", "dog"])
    assert found.tolist() == [1, 9, 1]
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    labels = ("cat", "dog", "big dog")
    assert named_probability(probabilities, ["cat", "big"], labels) is not None
    torch.testing.assert_close(named_probability(probabilities, ["cat", "big"], labels), torch.tensor([0.7, 0.4]))
    assert named_probability(probabilities, ["cat", "bird"], labels) is None


def picture(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def test_reference_takes_captions_beside_pictures_or_their_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no pictures"):
        Reference.of(tmp_path)
    picture(tmp_path / "b.png", np.zeros((4, 4, 3)))
    picture(tmp_path / "a_cat.png", np.zeros((4, 4, 3)))
    (tmp_path / "b.txt").write_text(" A dog\n")
    found = Reference.of(tmp_path)
    assert [path.name for path in found.paths] == ["a_cat.png", "b.png"]
    assert found.captions == ("a cat", "a dog")


class MeanColour:
    """The mean of each channel."""

    name = "mean colour"
    labels: tuple[str, ...] = ()

    def __call__(self, images: torch.Tensor) -> Features:
        return Features(images.mean((2, 3)), None)


def test_features_of_a_picture_that_was_replaced_are_computed_again(tmp_path: Path) -> None:
    path, cache = tmp_path / "a.png", tmp_path / "features.npz"
    for colour, expected in (("black", 0.0), ("white", 1.0)):
        Image.new("RGB", (4, 4), colour).save(path)
        for _ in range(2):  # the second time from the cache
            embedding, _ = judges.features([path], MeanColour(), cache)
            assert embedding.tolist() == [[expected] * 3]


def test_pictures_with_equal_stems_are_uploaded_under_two_names() -> None:
    assert len({protocols._uploaded_name(Path(name)) for name in ("a.png", "a.jpg", "a.webp")}) == 3


def test_busy_pictures_vary_more(tmp_path: Path) -> None:
    plain = picture(tmp_path / "plain.png", np.full((8, 8, 3), 90))
    busy = picture(tmp_path / "busy.png", np.indices((8, 8)).sum(0)[..., None].repeat(3, 2) % 2 * 255)
    assert judges.total_variation(judges.pixels(plain)) == 0
    assert judges.total_variation(judges.pixels(busy)) == pytest.approx(2)


def test_a_picture_is_sent_as_it_is(tmp_path: Path) -> None:
    path = picture(tmp_path / "x.png", np.arange(48).reshape(4, 4, 3))
    with Image.open(path) as image:
        image.convert("RGB").save(tmp_path / "x.bmp")
    (tmp_path / "sent.png").write_bytes(reconstruction_protocol.as_png(tmp_path / "x.bmp"))
    with Image.open(tmp_path / "sent.png") as sent:
        assert np.array_equal(np.array(sent), np.arange(48).reshape(4, 4, 3))


def test_a_pivot_has_a_cell_for_each_pair() -> None:
    head = ("method", "a quality", "k", "gain", "95 %")
    rows = [(m, q, k, float(k), f"{q}{m}") for m in ("x", "y") for q in ("p", "q") for k in (2, 4)]
    found = report.Table("t", head, rows).pivot("n", "method", "a quality", ("gain", "95 %"), k=4)
    assert found.head == ("method", "p", "q")
    assert found.rows == [("x", "4 (px)", "4 (qx)"), ("y", "4 (py)", "4 (qy)")]


def test_tables_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = report.Table("t", ("a", "b"), [("x", 1.25), ("y, z", 3)])
    table.write(tmp_path)
    assert read_table(tmp_path, "t") == table
    assert (tmp_path / "t.md").read_text() == "| a | b |\n| --- | --- |\n| x | 1.25 |\n| y, z | 3 |\n"
