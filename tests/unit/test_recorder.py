"""Maps of single steps in memory, as a sum, and on the disk."""

import gc
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from small_disk import mounted, needs_mount
from uncertainty.maps import UncertaintyMap
from uncertainty.quantities import PROBED
from uncertainty.recorder import KEEP, Recorder
from uncertainty.room import Room, in_all, in_memory

STEPS, SHAPE = 3, (2, 4, 5, 6)


def recorded(keep: str, room: Room | None = None, order: tuple[int, ...] = (45, 46, 47)) -> UncertaintyMap:
    """A map whose step s has random values of its own."""
    recorder = Recorder(keep, STEPS, room)
    for step in order:
        generator = torch.Generator().manual_seed(step)
        values: dict[str, Tensor] = {name: torch.rand(SHAPE, generator=generator) for name in PROBED}
        errors = {name: torch.rand(SHAPE[0], generator=generator) for name in PROBED}
        recorder.record(step, values, errors, sigma=float(100 - step))
    return UncertaintyMap(**recorder.arguments(), total_steps=50)


def test_on_the_disk_it_is_the_same_map(tmp_path: Path) -> None:
    memory, disk = recorded("every_step"), recorded("on_disk", Room(0, tmp_path))
    assert all(torch.equal(memory.quantities[name], disk.quantities[name]) for name in PROBED)
    assert all(torch.equal(memory.standard_errors[name], disk.standard_errors[name]) for name in PROBED)
    assert memory.steps == disk.steps == (45, 46, 47)
    assert torch.equal(memory.sigmas, disk.sigmas)
    assert list(tmp_path.iterdir()) == []  # the name is gone, the content goes with the map
    chosen = disk.select([1])
    del disk
    gc.collect()
    assert torch.equal(chosen.values, memory.select([1]).values)


def in_file(tensor: Tensor) -> bool:
    return tensor.untyped_storage().filename is not None


def test_main_memory_is_taken_up_to_the_bound(tmp_path: Path) -> None:
    quantity = STEPS * 4 * torch.Size(SHAPE).numel()
    room = Room(2 * quantity, tmp_path)
    found = recorded("every_step", room)
    where = [in_file(found.quantities[name]) for name in PROBED]
    assert where == [False, False, *[True] * (len(where) - 2)]
    assert room.on_disk == (len(where) - 2) * quantity
    ample = recorded("every_step")
    assert all(torch.equal(found.quantities[name], ample.quantities[name]) for name in PROBED)
    assert not any(in_file(ample.quantities[name]) for name in PROBED)


def test_what_lies_in_one_memory_counts_once_and_as_a_whole(tmp_path: Path) -> None:
    whole, filed = torch.zeros(10), Room(0, tmp_path).copied(torch.arange(3.0))
    assert filed.tolist() == [0, 1, 2] and in_file(filed)
    assert in_memory([whole[:2], whole[5:], filed]) == 40
    assert in_all([whole[:2], whole[5:], filed]) == 52


@pytest.mark.parametrize(("given", "stays"), [(8, True), (12, True), (0, False)])
def test_what_is_needed_less_gives_way_to_what_does_not_fit(given: int, stays: bool, tmp_path: Path) -> None:
    asked: list[float] = []
    room = Room(20, tmp_path, lambda missing: asked.append(missing) or given)
    room.zeros((4,))
    assert asked == []
    assert in_file(room.zeros((3,))) != stays and asked == [8]
    assert room.left == (20 - 16 + given - 12 if stays else 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_latents_of_every_precision_can_go_to_the_disk(dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.randn(SHAPE).to(dtype)
    copied = Room(0, tmp_path).mapped(SHAPE, dtype).copy_(tensor)
    assert torch.equal(copied, tensor) and copied.dtype == dtype and in_file(copied)


def test_the_sum_has_the_same_scores() -> None:
    every, total = recorded("every_step"), recorded("sum")
    assert total.values.shape == (1, *SHAPE) and total.steps == (47,)
    for name in PROBED:
        for one, other in zip(every.score(name), total.score(name), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("keep", KEEP)
def test_steps_that_come_in_another_order_and_too_few(keep: str, tmp_path: Path) -> None:
    found = recorded(keep, Room(0, tmp_path), order=(46, 45))
    assert found.steps == ((45,) if keep == "sum" else (45, 46))
    if keep != "sum":
        assert found.sigmas.tolist() == [55.0, 54.0]
        assert torch.equal(found.values, recorded("every_step").values[:2])


def test_what_cannot_be_kept_is_named() -> None:
    with pytest.raises(ValueError, match="keep_maps must be one of every_step, sum, on_disk, got 'x'"):
        Recorder("x", 1)


@needs_mount
@pytest.mark.parametrize("allocates", [True, False])
def test_a_disk_that_is_too_small_is_told_before_the_map_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allocates: bool
) -> None:
    """Where the system cannot allocate space, as on macOS, writing to the mapping would kill the process."""
    if not allocates:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    with mounted(tmp_path / "disk", "size=1m"):
        with pytest.raises(OSError, match="No space left on device"):
            Room(0, tmp_path / "disk").zeros((1 << 20,))
        assert list((tmp_path / "disk").iterdir()) == []
