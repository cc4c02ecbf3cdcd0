"""Scores of other packs' nodes: what the node takes, how the filter combines them with the map's, where they are saved."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

RULE = {
    "mode": "keep_best", "keep": 1, "percentile": 50.0, "threshold": 0.5, "quantity": "denoised_variance", "reject": "highest",
    "window_start": 0.0, "window_end": 1.0, "when_none_pass": "block",
}  # fmt: skip
Make = Callable[..., Any]


@pytest.fixture
def made(pack: Callable[[str], ModuleType]) -> Make:
    """A map in which image i has a score of about i, as the pack in ComfyUI makes it."""

    def make(images: int, seed: int = 0) -> Any:
        generator = torch.Generator().manual_seed(seed)
        values = torch.rand(1, images, 2, 4, 4, generator=generator) * 0.1 + torch.arange(images).reshape(1, -1, 1, 1, 1)
        quantities = dict.fromkeys(pack("uncertainty.quantities").PROBED, values)
        settings = {"seed": seed, "model": "extra", "prompt": "a prompt of this test", "samples": 5}
        errors = dict.fromkeys(quantities, torch.full((1, images), 0.01))
        return pack("uncertainty.maps").UncertaintyMap(quantities, errors, (3,), 4, torch.ones(1), settings=settings)

    return make


@pytest.fixture
def add(pack: Callable[[str], ModuleType]) -> Make:
    """Run the node that adds a score to a map, as ComfyUI does: with lists."""
    node = pack("nodes.choosing.extra_score").UncertaintyExtraScore

    def run(found: Any, scores: Any, name: str = "pickscore", better: str = "higher") -> Any:
        (added,) = node.execute(uncertainty=[found], scores=scores, name=[name], better=[better]).args[0]
        return added

    return run


@pytest.fixture
def judge(pack: Callable[[str], ModuleType]) -> Make:
    """Run the filter."""

    def run(found: Any, **rule: Any) -> Any:
        return pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute(uncertainty=found, **RULE | rule)

    return run


@pytest.mark.parametrize("scores", [[0.1, 0.2, 0.3], [[0.1, 0.2, 0.3]], [torch.tensor([0.1, 0.2, 0.3])]])
def test_scores_come_as_a_list_a_list_in_one_value_or_a_tensor(made: Make, add: Make, scores: list[Any]) -> None:
    added = add(made(3), scores).extra_scores["pickscore"]
    assert added.values.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert added.higher_is_better


def test_scores_of_a_divided_batch_go_to_their_parts(pack: Callable[[str], ModuleType], made: Make) -> None:
    node = pack("nodes.choosing.extra_score").UncertaintyExtraScore
    maps = [made(2), made(3)]
    (parts,) = node.execute(uncertainty=maps, scores=[1, 2, 3, 4, 5], name=["x"], better=["lower"]).args
    assert [part.extra_scores["x"].values.tolist() for part in parts] == [[1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("scores", "name", "words"),
    [
        (
            [0.1, 0.2],
            "pickscore",
            "scores of pickscore has 2 entries, but the map has 3 images: connect one score for each image",
        ),
        ([0.1, 0.2, "good"], "pickscore", "scores must be finite numbers, but number 2 of pickscore is 'good'"),
        ([0.1, float("nan"), 0.3], "pickscore", "scores must be finite numbers, but number 1 of pickscore is nan"),
        ([0.1, 0.2, 0.3], "denoised_variance", "name denoised_variance belongs to a score of this pack"),
        ([0.1, 0.2, 0.3], "aesthetic", "name aesthetic belongs to another extra score of these images"),
    ],
)
def test_bad_scores_are_named(made: Make, add: Make, scores: list[Any], name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        add(add(made(3), [1, 2, 3], "aesthetic"), scores, name)


def test_inputs_are_validated_as_lists(pack: Callable[[str], ModuleType]) -> None:
    validate = pack("nodes.choosing.extra_score").UncertaintyExtraScore.validate_inputs
    assert (
        validate(name=["pickscore"], better=["higher"], input_types=[{"scores": "FLOAT", "uncertainty": "UNCERTAINTY"}]) is True
    )
    assert "name score_variance belongs" in validate(name=["score_variance"])
    assert "better must be one of higher, lower, got 'best'" in validate(better=["best"])
    assert "received_type(IMAGE)" in validate(input_types=[{"uncertainty": "IMAGE"}])


def test_the_mean_rank_decides_in_every_mode(made: Make, add: Make, judge: Make) -> None:
    """Uncertainty ranks the images 0, 1, 2, 3; the other scores agree on the opposite."""
    found = add(add(made(4), [1, 2, 3, 4]), [9.0, 8.0, 7.0, 6.0], "distance", "lower")
    expected = [2 / 3, 5 / 9, 4 / 9, 1 / 3]
    output = judge(found)
    assert output.args[7] == pytest.approx(expected)
    assert output.args[8] == [3]
    assert judge(found, mode="percentile").args[8] == [2, 3]
    assert judge(found, mode="threshold").args[8] == [2, 3]
    assert judge(found, mode="keep_best", reject="lowest").args[8] == [3]
    assert judge(found, mode="keep_best", reject="lowest").args[7] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert judge(made(4)).args[8] == [0]
    report = output.args[9]
    assert report.startswith("mean rank of denoised_variance and pickscore and distance, keep_best")
    assert "image 3: 0.3333 (denoised_variance 3.0" in report and "± 0.01, pickscore 4, distance 6)  kept" in report
    kept = output.args[3]
    assert kept.extra_scores["distance"].values.tolist() == [6.0]


def test_the_view_shows_every_score(made: Make, add: Make, judge: Make) -> None:
    import folder_paths

    ui = judge(add(made(3), [1, 2, 3])).ui
    (name,) = ui["uncertainty_view"]
    shown = json.loads(Path(folder_paths.get_temp_directory(), "uncertainty", name).read_text())
    assert [part["name"] for part in shown["parts"]] == ["denoised_variance", "pickscore"]
    assert shown["parts"][1]["scores"] == [1, 2, 3]
    assert shown["scores"] == [0.5] * 3
    assert shown["standard_errors"] == [None] * 3
    assert shown["scored"]["reject"] == "highest"


def test_reference_compares_with_recorded_images_that_have_the_scores(
    pack: Callable[[str], ModuleType], made: Make, add: Make, judge: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = pack("uncertainty.storage.ledger").Ledger(tmp_path / "ledger.sqlite3")
    monkeypatch.setattr(pack("nodes.choosing.ledger_access"), "ledger", lambda: ledger)
    for seed in range(2):
        ledger.record(made(12, seed))
    new = add(made(4, 2), [10.0, 30.0, 20.0, 40.0])
    report = judge(new, mode="reference").args[9]
    assert (
        "compared within this batch: the ledger has 3 other images of the same prompt and settings that have pickscore" in report
    )
    for seed in range(2):
        ledger.record(add(made(12, seed), [float(number) for number in range(12)]))
    output = judge(new, mode="reference")
    assert "compared with 27 other images of the same prompt and settings that have pickscore" in output.args[9]
    by_uncertainty = torch.cat([new.score().value, *(made(12, seed).score().value for seed in range(2))]).tolist()
    by_pickscore = [-10.0, -30.0, -20.0, -40.0, *(-float(number % 12) for number in range(24))]
    summed = [ranked(by_uncertainty, i) + ranked(by_pickscore, i) for i in range(28)]
    assert output.args[7] == pytest.approx([each / 27 / 2 for each in summed[:4]])
    assert output.args[8] == [i for i in range(4) if sum(other < summed[i] for other in summed) < 14]
    assert (
        "with the same settings and any prompt that have pickscore" in judge(new, mode="reference", across_prompts=True).args[9]
    )
    thresholds = pack("uncertainty.thresholds").Thresholds({3: torch.zeros(1)}, {"denoised_variance": torch.ones(1)})
    with pytest.raises(ValueError, match="the calibrated images have no pickscore: disconnect thresholds"):
        judge(new, mode="reference", thresholds=thresholds)


def ranked(values: list[float], index: int) -> float:
    """The rank of a value from 0; equal ones share their mean rank."""
    lower, equal = (sum(test(value, values[index]) for value in values) for test in (float.__lt__, float.__eq__))
    return lower + (equal - 1) / 2


def test_a_map_that_does_not_tell_its_prompt_is_not_compared(made: Make, judge: Make) -> None:
    from dataclasses import replace

    found = made(3)
    found = replace(found, settings={name: value for name, value in found.settings.items() if name != "prompt"})
    with pytest.raises(ValueError, match=r"does not say which prompt it is of: sample again, .* or turn across_prompts on"):
        judge(found, mode="reference")


def test_saved_pictures_tell_them(pack: Callable[[str], ModuleType], made: Make, add: Make, tmp_path: Path) -> None:
    import folder_paths

    save = pack("nodes.choosing.save_image").UncertaintySaveImage
    found = add(made(2, seed=9), [0.25, 0.75])

    class Prepared(save):
        hidden = type("Hidden", (), {"prompt": None, "extra_pnginfo": None, "unique_id": "1"})

    shown = Prepared.execute(torch.zeros(2, 8, 8, 3), "extra/scored", found).ui["images"]
    paths = [Path(folder_paths.get_output_directory(), file["subfolder"], file["filename"]) for file in shown]
    known = [pack("uncertainty.storage.picture_entry").read(path) for path in paths]
    assert [each.extra_scores for each in known] == [{"pickscore": (0.25, True)}, {"pickscore": (0.75, True)}]
