"""What holds for any input, not for chosen ones."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from described_nodes import describe
from tables import read_table
from uncertainty.calibration import Calibration
from uncertainty.images import heatmaps
from uncertainty.images.masks import parse_steps, uncertain_parts
from uncertainty.maps import UncertaintyMap
from uncertainty.options import Options, RunSettings
from uncertainty.quantities import PROBED
from uncertainty.storage import picture_entry, tensor_files
from uncertainty.storage.fingerprints import fingerprint, image_digests
from uncertainty.storage.ledger import Ledger, Query
from uncertainty.window import Window, step_of
from uncertainty_runs.evaluation.report import Table
from uncertainty_runs.workflow import Workflow, WorkflowError

PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(PLAIN, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3), max_leaves=8)
FLOATS = st.floats(width=32)  # NaN and infinities too
FINITE = st.floats(-(2.0**60), 2.0**60, width=32)
PICTURES = st.tuples(*[st.integers(1, 6)] * 3)
SLOW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def maps(draw: st.DrawFn, elements: st.SearchStrategy[float] = FLOATS) -> UncertaintyMap:
    """Images, videos or sounds of any small size, with any values and settings."""
    steps = draw(st.lists(st.integers(0, 30), min_size=1, max_size=3, unique=True).map(sorted))
    images = draw(st.integers(1, 3))
    spatial = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    shape = (len(steps), images, draw(st.integers(1, 3)), *spatial)

    def values(*shape: int) -> Tensor:
        return torch.from_numpy(draw(arrays.arrays(np.float32, shape, elements=elements)))

    mask = torch.ones(images, 1, *spatial) if draw(st.booleans()) else None
    return UncertaintyMap(
        quantities={name: values(*shape) for name in PROBED},
        standard_errors={name: values(len(steps), images) for name in PROBED},
        steps=tuple(steps),
        total_steps=31,
        sigmas=torch.from_numpy(draw(arrays.arrays(np.float32, len(steps), elements=FINITE))),
        mask=mask,
        settings=draw(st.dictionaries(st.text(), JSON, max_size=4)) | {"seed": draw(st.integers(0, 2**64 - 1))},
    )


def tried(does: Callable[[], Any]) -> tuple[Any, str]:
    """What comes of it, or what is said against it."""
    try:
        return does(), ""
    except ValueError as error:
        return None, str(error)


def same(one: Tensor, other: Tensor) -> bool:
    """Bit for bit, NaN being itself."""
    return one.dtype == other.dtype and one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes()


@SLOW
@given(found=maps())
def test_a_saved_map_is_the_map(tmp_path: Path, found: UncertaintyMap) -> None:
    path = tmp_path / "map.safetensors"
    tensor_files.save_map(path, found)
    read = tensor_files.load_map(path)
    assert all(same(read.quantities[name], found.quantities[name]) for name in PROBED)
    assert all(same(read.standard_errors[name], found.standard_errors[name]) for name in PROBED)
    assert (read.steps, read.total_steps, dict(read.settings)) == (found.steps, found.total_steps, dict(found.settings))
    assert fingerprint(read) == fingerprint(found)
    assert image_digests(read) == image_digests(found)


@SLOW
@given(found=maps())
def test_what_a_picture_knows_can_be_read_again(tmp_path: Path, found: UncertaintyMap) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    path = tmp_path / "image.png"
    for image in range(found.images):
        about = PngInfo()
        about.add_text(picture_entry.ENTRY, picture_entry.entry(found, image))
        Image.new("RGB", (8, 8)).save(path, pnginfo=about)
        known = picture_entry.read(path)
        assert known is not None and known.place == image and known.seed == found.settings["seed"]
        for name in PROBED:
            value = float(found.score(name).value[image])
            read = known.scores[name][0]
            assert read == value if math.isfinite(value) else math.isnan(read)
        small = picture_entry.read_map(path)
        assert small is not None and small.min() >= 0 and small.max() <= 1


@SLOW
@given(found=maps())
def test_the_ledger_takes_any_map(tmp_path: Path, found: UncertaintyMap) -> None:
    ledger = Ledger(tmp_path / f"{abs(hash(found))}.sqlite3")
    names = [f"{index}.png" for index in range(found.images)]
    name = ledger.record(found, names)
    entries = ledger.page(Query(fingerprint=name)).images
    assert {entry.file for entry in entries} == set(names)
    assert {entry.seed for entry in entries} == {found.settings["seed"]}
    standing = ledger.standing(name, None, "denoised_variance", found.score().value, image_digests(found))
    assert bool((standing.lower + standing.higher <= standing.count).all())


@settings(deadline=None, max_examples=30)
@given(found=maps(FINITE), percentile=st.floats(0, 100))
def test_a_calibration_counts_every_image_once(found: UncertaintyMap, percentile: float) -> None:
    found = replace(found, mask=None)
    calibration = Calibration.like(found).add(found)
    images = len({image.contiguous().numpy().tobytes() for image in found.values.transpose(0, 1)})  # equal ones are one
    assert calibration.count == calibration.add(found).count == images
    thresholds = calibration.thresholds(percentile)
    for step, row in zip(found.steps, found.values, strict=True):
        tau = thresholds.at(step, found.values.shape[1:])
        assert bool((tau >= row.amin(0)).all()) and bool((tau <= row.amax(0)).all())


@settings(deadline=None, max_examples=60)
@given(pictures=arrays.arrays(np.float32, PICTURES, elements=FLOATS), mode=st.sampled_from(heatmaps.NORMALIZATIONS))
def test_any_map_can_be_drawn(pictures: np.ndarray, mode: str) -> None:
    values = heatmaps.normalize(torch.from_numpy(pictures), mode)
    assert bool(((values >= 0) & (values <= 1)).all())
    colours = heatmaps.colorize(values, "turbo")
    assert colours.shape == (*pictures.shape, 3) and bool(((colours >= 0) & (colours <= 1)).all())


@settings(deadline=None, max_examples=60)
@given(
    pictures=arrays.arrays(np.float32, PICTURES, elements=FINITE),
    percentile=st.floats(0, 100),
    grow=st.integers(0, 40),
    feather=st.integers(0, 40),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_any_mask_lies_between_black_and_white(
    pictures: np.ndarray, percentile: float, grow: int, feather: int, size: tuple[int, int]
) -> None:
    mask = uncertain_parts(torch.from_numpy(pictures), percentile, grow, feather, size)
    assert mask.shape == (len(pictures), *size)
    assert bool(((mask >= 0) & (mask <= 1)).all())
    grown = uncertain_parts(torch.from_numpy(pictures), percentile, grow + 1, 0, size)
    assert bool((grown >= uncertain_parts(torch.from_numpy(pictures), percentile, grow, 0, size)).all())


@given(text=st.text() | st.from_regex(r"[\d, -]*", fullmatch=True))
def test_steps_are_read_or_refused(text: str) -> None:
    steps, refusal = tried(lambda: parse_steps(text))
    if refusal:
        assert refusal.startswith("steps must be empty")
        return
    assert steps is None or (steps and all(step >= 0 for step in steps) and len(set(steps)) == len(steps))


@given(start=st.floats(0, 1), end=st.floats(0, 1), total=st.integers(1, 300))
def test_a_window_has_steps_of_the_schedule(start: float, end: float, total: int) -> None:
    if start >= end:
        with pytest.raises(ValueError, match="window_start must be below"):
            Window(start, end)
        return
    steps = Window(start, end).steps(total)
    assert 0 <= steps.start < steps.stop <= total
    inside = [step for step in range(total) if start <= step / total < end]
    assert list(steps) == (inside or list(steps)) and len(steps) == max(1, len(inside))


@given(levels=st.lists(FINITE.filter(lambda value: value > 1e-6), min_size=2, max_size=30, unique=True))
def test_every_level_belongs_to_the_step_that_starts_there(levels: list[float]) -> None:
    schedule = torch.tensor([*sorted(levels, reverse=True), 0.0])
    gaps = schedule[:-2] / schedule[1:-1] > 1.001
    for step in range(len(schedule) - 1):
        if bool(gaps[max(0, step - 1) : step + 1].all()):
            assert step_of(float(schedule[step]), schedule) == step


@given(
    samples=st.integers(-3, 100), strength=st.floats(), percentile=st.floats(), max_batch=st.integers(-3, 3), estimator=st.text()
)
def test_settings_are_valid_or_refused_by_name(
    samples: int, strength: float, percentile: float, max_batch: int, estimator: str
) -> None:
    window = Window(0.1, 0.2)
    made, refusal = tried(lambda: RunSettings(samples, strength, percentile, window, 0, Options(max_batch=max_batch)))
    if refusal:
        assert refusal.split()[0] in ("samples", "strength", "percentile", "max_batch")
    else:
        assert (
            math.isfinite(made.strength)
            and 0 <= made.percentile <= 100
            and (made.samples >= 2 or (made.samples, made.strength) == (0, 0))
        )
    if estimator not in ("filtered", "control_variate", "paper", "centered"):
        with pytest.raises(ValueError, match="estimator must be one of"):
            Options(estimator=estimator)


@SLOW
@given(value=JSON)
def test_a_workflow_is_one_or_is_refused(tmp_path: Path, value: object) -> None:
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(value))
    with pytest.raises(WorkflowError):
        Workflow.read(path, describe)


@SLOW
@given(
    rows=st.lists(st.tuples(st.text("abc ,|\"'"), st.integers(-9, 9), st.floats(-1e6, 1e6)), max_size=4),
)
def test_tables_are_read_as_they_were_written(tmp_path: Path, rows: list[tuple[str, int, float]]) -> None:
    Table("table", ("word", "number", "value"), list(rows)).write(tmp_path)
    read = read_table(tmp_path, "table")
    assert len(read.rows) == len(rows)
    for one, other in zip(read.rows, rows, strict=True):
        assert one[2] == pytest.approx(other[2], rel=1e-5, abs=1e-12)
