"""What is saved comes back bit for bit; what cannot be read says why."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from uncertainty import PROBED, UncertaintyMap
from uncertainty.calibration import KEPT, Calibration
from uncertainty.storage import picture_entry, tensor_files
from uncertainty.storage.ledger import Ledger
from uncertainty.storage.ledger_query import Query
from uncertainty.thresholds import Thresholds

pytestmark = pytest.mark.usefixtures("each_desk")

SETTINGS = {"samples": 5, "window": [0.9, 0.98], "note": 'Größe "x"\n', "denoise": 0.1 + 0.2, "none": None, "deep": {"a": [1]}}


def example(mask: Tensor | None = None, images: int = 4, seed: int = 0) -> UncertaintyMap:
    rng = torch.Generator().manual_seed(seed)
    one = torch.randn(2, images, 3, 4, 5, generator=rng)
    one[0, 0, 0, 0, 0] = -0.0
    return UncertaintyMap(
        quantities={name: one if name == next(iter(PROBED)) else one.square() for name in PROBED},
        standard_errors={name: torch.full((2, images), torch.nan) for name in PROBED},
        steps=(45, 46),
        total_steps=50,
        sigmas=torch.tensor([0.5, 0.2]),
        mask=mask,
        settings=SETTINGS,
    )


@pytest.mark.parametrize("mask", [None, torch.rand(4, 1, 4, 5)], ids=["whole", "masked"])
def test_a_map_comes_back_as_it_was(tmp_path: Path, mask: Tensor | None) -> None:
    path = tmp_path / "new folder" / "map.safetensors"
    found = example(mask)
    found = replace(found, stars=tuple(range(found.images)))
    tensor_files.save_map(path, found)
    again = tensor_files.load_map(path)
    for name in PROBED:
        assert again.quantities[name].numpy().tobytes() == found.quantities[name].numpy().tobytes()
        assert again.standard_errors[name].numpy().tobytes() == found.standard_errors[name].numpy().tobytes()
    assert torch.equal(again.sigmas, found.sigmas)
    assert (again.steps, again.total_steps, again.stars) == (found.steps, found.total_steps, found.stars)
    assert dict(again.settings) == SETTINGS
    assert again.mask is None if mask is None else torch.equal(again.mask, mask)
    assert [file.name for file in path.parent.iterdir()] == ["map.safetensors"]


def test_views_of_one_tensor_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "map.safetensors"
    shared = torch.rand(len(PROBED), 2, 2, 6, 3, 5).transpose(3, 4)
    found = replace(example(images=2), quantities=dict(zip(PROBED, shared, strict=True)), mask=None)
    tensor_files.save_map(path, found)
    assert all(torch.equal(tensor_files.load_map(path).quantities[name], found.quantities[name]) for name in PROBED)


def test_a_stopped_calibration_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "calibration.safetensors"
    straight = Calibration.like(example())
    tensor_files.save_calibration(path, straight)
    for seed in range(KEPT // 100 + 4):
        found = example(images=100, seed=seed)
        straight = straight.add(found)
        tensor_files.save_calibration(path, tensor_files.load_calibration(path).add(found))
    again = tensor_files.load_calibration(path)
    assert again.count == straight.count > KEPT
    assert torch.equal(again.values, straight.values) and torch.equal(again.recent, straight.recent)
    assert all(torch.equal(again.scores[name], straight.scores[name]) for name in PROBED)
    assert again.settings == straight.settings and again.steps == straight.steps
    assert torch.equal(again.thresholds(95).tau[46], straight.thresholds(95).tau[46])


def test_thresholds_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.safetensors"
    made = Calibration.like(example()).add(example()).thresholds(95)
    tensor_files.save_thresholds(path, made)
    again = tensor_files.load_thresholds(path)
    assert list(again.tau) == list(made.tau) == [45, 46]
    assert all(torch.equal(again.tau[step], made.tau[step]) for step in made.tau)
    assert again.scores.keys() == made.scores.keys()
    assert all(torch.equal(again.scores[name], made.scores[name]) for name in made.scores)
    assert again.settings == made.settings


def test_the_header_is_json_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "map.safetensors"
    tensor_files.save_map(path, example())
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    told = json.loads(header["__metadata__"]["uncertainty"])
    assert told["kind"] == "map" and told["settings"] == SETTINGS and told["steps"] == [45, 46]
    assert set(load_file(path)) == {
        *(f"quantities.{name}" for name in PROBED),
        *(f"standard_errors.{name}" for name in PROBED),
        "sigmas",
    }


def test_a_file_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "map.safetensors"
    tensor_files.save_map(path, example())
    before = path.read_bytes()

    def full_disk(tensors: dict, file: Path, metadata: dict) -> None:
        file.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(tensor_files, "save_file", full_disk)
    with pytest.raises(OSError, match="no space left"):
        tensor_files.save_map(path, example(seed=1))
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["map.safetensors"]


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "map.safetensors"
    tensor_files.save_map(path, example())
    raw = path.read_bytes()
    for length in (0, 4, 100, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:length])
        with pytest.raises(ValueError, match=r"map.safetensors is damaged \(.*\): save it again"):
            tensor_files.load_map(path)
        assert tensor_files.kind_of(path) is None


@pytest.mark.parametrize("part", ["tensor", "field", "json", "shape", "text"])
def test_missing_parts_are_noticed(tmp_path: Path, part: str) -> None:
    path = tmp_path / "map.safetensors"
    tensor_files.save_map(path, example())
    tensors = load_file(path)
    header = {"kind": "map", "version": 1, "quantities": list(PROBED), "steps": [45, 46], "total_steps": 50, "settings": {}}
    if part == "tensor":
        del tensors["quantities.score_variance"]
    elif part == "field":
        del header["steps"]
    elif part == "shape":
        header["steps"] = [45]
    save_file(tensors, path, {"uncertainty": {"json": '{"kind": ', "text": "[]"}.get(part, json.dumps(header))})
    with pytest.raises(ValueError, match=r"map.safetensors is damaged \("):
        tensor_files.load_map(path)


def test_a_quantity_that_the_writer_did_not_know_is_absent_and_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "map.safetensors"
    found = example()
    less = {name: values for name, values in found.quantities.items() if name != "posterior_variance"}
    tensor_files.save_map(path, replace(found, quantities=less))
    again = tensor_files.load_map(path)
    assert list(again.quantities) == ["score_variance", "denoised_variance", "denoising_loss"]
    with pytest.raises(ValueError, match="this map has no posterior_variance: the version that made it did not measure it"):
        again.quantity("posterior_variance")
    entry = picture_entry.entry(again, 0)
    (tmp_path / "a.png").write_bytes(picture_entry.png(torch.zeros(8, 8, 3), {picture_entry.ENTRY: entry}))
    image = picture_entry.read(tmp_path / "a.png")
    assert image is not None and set(image.scores) == {"score_variance", "denoised_variance", "denoising_loss"}
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.record(again, [f"{i}.png" for i in range(4)])
    assert ledger.page(Query()).images[0].score("posterior_variance") is None
    calibration = Calibration.like(again).add(again)
    tensor_files.save_calibration(path, calibration)
    with pytest.raises(ValueError, match=r"thresholds hold reference scores of .*, not of posterior_variance"):
        tensor_files.load_calibration(path).thresholds(95).rank("posterior_variance", torch.zeros(1))


def test_other_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="x.safetensors was not written by this pack"):
        tensor_files.load_map(path)
    assert tensor_files.kind_of(path) is None
    save_file({"weight": torch.ones(2)}, path, {"uncertainty": json.dumps({"kind": "map", "version": 2})})
    with pytest.raises(ValueError, match="file version 2, but this pack reads version 1"):
        tensor_files.load_map(path)
    tensor_files.save_thresholds(path, Thresholds({1: torch.ones(1)}))
    with pytest.raises(ValueError, match="x.safetensors is a file of kind thresholds, not map"):
        tensor_files.load_map(path)
    with pytest.raises(ValueError, match="of kind thresholds, not calibration"):
        tensor_files.load_calibration(path)
    tensor_files.save_map(path, example())
    with pytest.raises(ValueError, match="of kind map, not thresholds"):
        tensor_files.load_thresholds(path)
    with pytest.raises(FileNotFoundError):
        tensor_files.load_map(tmp_path / "none.safetensors")


def test_the_kind_is_told_without_reading_the_file(tmp_path: Path) -> None:
    tensor_files.save_map(tmp_path / "map", example())
    tensor_files.save_thresholds(tmp_path / "thresholds", Thresholds({1: torch.ones(1)}))
    tensor_files.save_calibration(tmp_path / "calibration", Calibration.like(example()))
    assert [tensor_files.kind_of(tmp_path / name) for name in ("map", "thresholds", "calibration", "none")] == [
        "map", "thresholds", "calibration", None,
    ]  # fmt: skip
