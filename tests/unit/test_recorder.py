"""Maps of single steps in memory, as a sum, and on the disk."""

import gc
from pathlib import Path

import pytest
import torch
from torch import Tensor

from uncertainty.maps import UncertaintyMap
from uncertainty.quantities import PROBED
from uncertainty.recorder import KEEP, Recorder

STEPS, SHAPE = 3, (2, 4, 5, 6)


def recorded(keep: str, folder: Path | None = None, order: tuple[int, ...] = (45, 46, 47)) -> UncertaintyMap:
    """A map whose step s has random values of its own."""
    recorder = Recorder(keep, STEPS, folder)
    for step in order:
        generator = torch.Generator().manual_seed(step)
        values: dict[str, Tensor] = {name: torch.rand(SHAPE, generator=generator) for name in PROBED}
        errors = {name: torch.rand(SHAPE[0], generator=generator) for name in PROBED}
        assert step not in recorder
        recorder.record(step, values, errors, sigma=float(100 - step))
        assert step in recorder
    return UncertaintyMap(**recorder.arguments(), total_steps=50)


def test_on_the_disk_it_is_the_same_map(tmp_path: Path) -> None:
    memory, disk = recorded("every_step"), recorded("on_disk", tmp_path)
    assert all(torch.equal(memory.quantities[name], disk.quantities[name]) for name in PROBED)
    assert all(torch.equal(memory.standard_errors[name], disk.standard_errors[name]) for name in PROBED)
    assert memory.steps == disk.steps == (45, 46, 47)
    assert torch.equal(memory.sigmas, disk.sigmas)
    assert list(tmp_path.iterdir()) == []  # the name is gone, the content goes with the map
    chosen = disk.select([1])
    del disk
    gc.collect()
    assert torch.equal(chosen.values, memory.select([1]).values)


def test_the_sum_has_the_same_scores() -> None:
    every, total = recorded("every_step"), recorded("sum")
    assert total.values.shape == (1, *SHAPE) and total.steps == (47,)
    for name in PROBED:
        for one, other in zip(every.score(name), total.score(name), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("keep", KEEP)
def test_steps_that_come_in_another_order_and_too_few(keep: str, tmp_path: Path) -> None:
    found = recorded(keep, tmp_path, order=(46, 45))
    assert found.steps == ((45,) if keep == "sum" else (45, 46))
    if keep != "sum":
        assert found.sigmas.tolist() == [55.0, 54.0]
        assert torch.equal(found.values, recorded("every_step").values[:2])


def test_what_cannot_be_kept_is_named() -> None:
    with pytest.raises(ValueError, match="keep_maps must be one of every_step, sum, on_disk, got 'x'"):
        Recorder("x", 1)
