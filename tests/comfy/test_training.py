"""The training loop of the demo model, on a handful of pictures."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture
def train(pack: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``demo.train`` on plain squares, in a temporary folder."""
    module, data = pack("demo.train"), pack("demo.data")
    colours = {"red": (1.0, -1.0, -1.0), "green": (-1.0, 1.0, -1.0), "blue": (-1.0, -1.0, 1.0)}
    pictures = [
        data.Picture(name, (name, "square"), ("colour",), True, held_out, torch.tensor(rgb).view(3, 1, 1).expand(3, 64, 64))
        for held_out in (False, True)
        for name, rgb in colours.items()
    ]
    monkeypatch.setattr(data, "download", lambda folder: folder)
    monkeypatch.setattr(data, "load", lambda archive: pictures)
    for name, value in {"WORK": tmp_path, "WEIGHTS": tmp_path / "weights.safetensors", "BATCH": 2, "SAVE_EVERY": 2}.items():
        monkeypatch.setattr(module, name, value)
    return module


def run(train: ModuleType, steps: int = 4) -> dict[str, torch.Tensor]:
    with torch.inference_mode(False):
        train.train(steps, 0, torch.device("cpu"))
    return load_file(train.WEIGHTS)


@pytest.mark.parametrize("velocity_steps", [0, 3])
def test_a_killed_run_ends_like_one_that_was_not(
    velocity_steps: int, train: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "VELOCITY_STEPS", velocity_steps)
    whole = run(train)
    (tmp_path / "checkpoint.pt").unlink()
    train.WEIGHTS.unlink()

    drawn, augment = [], train.augment

    def kill_at_the_fourth(*arguments: torch.Tensor) -> torch.Tensor:
        drawn.append(1)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return augment(*arguments)

    monkeypatch.setattr(train, "augment", kill_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        run(train)
    assert not train.WEIGHTS.exists()
    resumed = run(train)
    assert len(drawn) == 6  # steps 0 to 3, then steps 2 and 3 again from the checkpoint
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_finished_run_has_nothing_left_to_do(train: ModuleType) -> None:
    first = run(train, steps=2)
    again = run(train, steps=2)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_what_training_writes_can_be_loaded(train: ModuleType, pack: Callable[[str], ModuleType]) -> None:
    run(train, steps=2)
    model, clip, _ = pack("demo.model").load(path=train.WEIGHTS)
    assert clip.tokenize("red square")["words"][0][0][0] > 0
    assert all(torch.isfinite(p).all() for p in model.model.parameters())
