"""Maps, calibrations and thresholds as safetensors files: tensors by name, everything else as JSON in the header.

This is the only module that needs safetensors, which ComfyUI installs. No other module of ``uncertainty`` imports it.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor

from ..baselines import BASELINES
from ..calibration import Calibration
from ..extra_scores import ExtraScore, check_name
from ..kinds import ANYTHING, COUNT, TEXT, TRUTH, listed, named, shown, whole
from ..maps import UncertaintyMap
from ..quantities import QUANTITIES
from ..scores import SCORES, Score
from ..settings import check_settings
from ..thresholds import Thresholds
from . import foreign
from .atomic import atomic_write
from .rating import MOST_STARS

MAP, CALIBRATION, THRESHOLDS = "map", "calibration", "thresholds"
VERSION = 1
SUFFIX = ".safetensors"

# The header's only entry, because safetensors allows only text there.
_ENTRY = "uncertainty"
# Far above what this pack writes. Longer headers are not parsed, because every listing of a folder reads all of them.
MOST_HEADER = 16_000_000
HEADER_SIZE = 8  # bytes that hold the length of the header
# What views and nodes are made for: they write files for each image and work for each step.
MOST_IMAGES = MOST_STEPS = 10_000
MOST_SCHEDULE = 1_000_000
MOST_PARTS = 15  # beside the first
# Axes of a map: step, image, channel, then one (sound) to three (video).
MAP_AXES = range(4, 7)
_STEPS = listed(whole(0, MOST_SCHEDULE), MOST_STEPS, least=1)
_NO_STEPS = listed(whole(0, MOST_SCHEDULE), 0)

Content = tuple[dict[str, Tensor], dict[str, Any]]  # tensors by name, and the header


def kind_of(path: Path) -> str | None:
    """What a file contains, ``map``, ``calibration`` or ``thresholds``; None if it is not a readable file of this pack."""
    try:
        return str(_header(path)["kind"])
    except (OSError, ValueError):
        return None


def save_map(path: Path, measured: UncertaintyMap, *, replace: bool = True) -> None:
    """Write a map atomically.

    Raises:
        OSError: as ``atomic_write``.
        ValueError: the map could not be read again.
    """
    _write(path, MAP, *_together(map(_map_alone, (measured, *measured.other_parts))), replace=replace)


def map_content(measured: UncertaintyMap) -> bytes:
    """The bytes of the file that ``save_map`` writes.

    Raises:
        ValueError: the map could not be read again.
    """
    tensors, header = _together(map(_map_alone, (measured, *measured.other_parts)))
    return save(tensors, {_ENTRY: _checked_entry(MAP, header)})


def _map_alone(measured: UncertaintyMap) -> Content:
    """What a file has of a map without its other parts."""
    _check_map(measured)
    tensors = _named("quantities", measured.quantities) | _named("standard_errors", measured.standard_errors)
    tensors["sigmas"] = _own(measured.sigmas)
    tensors |= _named("baselines", {name: torch.stack(score) for name, score in measured.baselines.items()})
    tensors |= _named("of_run", measured.of_run)
    if measured.mask is not None:
        tensors["mask"] = _own(measured.mask)
    header = {
        "quantities": list(measured.quantities),
        "steps": list(measured.steps),
        "total_steps": measured.total_steps,
        "settings": dict(measured.settings),
        "places": list(measured.places),
        "stars": list(measured.stars),
        "extra_scores": {name: score.higher_is_better for name, score in measured.extra_scores.items()},
    }
    tensors |= _named("extra_scores", {name: score.values for name, score in measured.extra_scores.items()})
    return tensors, header


def _together(parts: Iterable[Content]) -> Content:
    """What a file has of latents that were sampled together: the first as if it were alone."""
    (tensors, header), *others = parts
    if not others:
        return tensors, header
    if len(others) > MOST_PARTS:
        raise ValueError(f"other_parts must be at most {MOST_PARTS}, got {len(others)}")
    for number, (those, _) in enumerate(others):
        tensors |= {f"{_other(number)}{name}": tensor for name, tensor in those.items()}
    return tensors, header | {"other_parts": [about for _, about in others]}


def _separated(tensors: dict[str, Tensor], header: dict[str, Any]) -> list[Content]:
    """Undo ``_together``."""
    headers = foreign.field({"other_parts": [], **header}, "other_parts", listed(named(ANYTHING), MOST_PARTS))
    others = [(_beginning_with(_other(number), tensors), about) for number, about in enumerate(headers)]
    return [(tensors, header), *others]


def _other(number: int) -> str:
    """What the names of the tensors of another part begin with."""
    return f"other_parts.{number}."


def load_map(path: Path) -> UncertaintyMap:
    """Read a map. Quantities that did not exist in the version that wrote it are absent.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file contains something else, was written by another version, or is damaged.
    """
    content = _read(path, MAP)
    with _whole(path):
        first, *others = (_map_of(*part) for part in _separated(*content))
        return replace(first, other_parts=tuple(others))


def _map_of(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> UncertaintyMap:
    """The map of one part, from its tensors and header."""
    names = [name for name in foreign.field(header, "quantities", listed(TEXT)) if name in QUANTITIES]
    of_run = {name: values for name, values in _group("of_run", tensors).items() if name in SCORES}
    if not names and not of_run:
        raise ValueError("it has no quantity that this version knows")
    measured = UncertaintyMap(
        quantities={name: tensors[f"quantities.{name}"] for name in names},
        standard_errors={name: tensors[f"standard_errors.{name}"] for name in names},
        steps=tuple(foreign.field(header, "steps", _STEPS if names else _NO_STEPS)),
        total_steps=foreign.field(header, "total_steps", whole(1, MOST_SCHEDULE)),
        sigmas=tensors["sigmas"],
        mask=tensors.get("mask"),
        settings=foreign.field(header, "settings", named(ANYTHING)),
        baselines={name: _score(name, parts) for name, parts in _group("baselines", tensors).items() if name in BASELINES},
        of_run=of_run,
        places=tuple(foreign.field({"places": [], **header}, "places", listed(COUNT))),
        stars=tuple(foreign.field({"stars": [], **header}, "stars", listed(whole(0, MOST_STARS)))),
        extra_scores=_extra_scores(tensors, foreign.field({"extra_scores": {}, **header}, "extra_scores", named(TRUTH))),
    )
    _check_map(measured)
    return measured


def _score(name: str, parts: Tensor) -> Score:
    """The score of a baseline, from its values and standard errors (2, B)."""
    if len(parts.shape) != 2 or len(parts) != 2:
        raise ValueError(f"{name} must have shape (2, B), got {tuple(parts.shape)}")
    return Score(*parts)


def _extra_scores(tensors: Mapping[str, Tensor], directions: Mapping[str, bool]) -> dict[str, ExtraScore]:
    """The scores of other programs, whose directions the header tells."""
    found = {}
    for name, higher_is_better in directions.items():
        check_name(name)
        values = tensors[f"extra_scores.{name}"]
        if values.dtype != torch.float64 or not bool(values.isfinite().all()):
            raise ValueError(f"{name} must be finite and float64, got {values.dtype}")
        found[name] = ExtraScore(values, higher_is_better)
    return found


def _check_map(measured: UncertaintyMap) -> None:
    """Raise ValueError for a map that no run makes, before a node works on it."""
    check_settings(measured.settings)
    tensors = {**measured.quantities, **{f"standard error of {name}": error for name, error in measured.standard_errors.items()}}
    tensors |= {name: score.value for name, score in measured.baselines.items()}
    tensors |= {f"the map of {name}": values for name, values in measured.of_run.items()}
    if measured.steps:
        tensors["sigmas"] = measured.sigmas
    if measured.mask is not None:
        tensors["mask"] = measured.mask
    _check_tensors(tensors, finite=("sigmas", "mask"))
    shape = measured.shape
    if len(shape) not in MAP_AXES or shape[0] > MOST_STEPS or shape[1] > MOST_IMAGES:
        raise ValueError(
            f"quantities must have shape (steps, images, channels, ...) with 1 to 3 axes for the place and at most {MOST_STEPS} "
            f"steps and {MOST_IMAGES} images, got {shape}"
        )
    if list(measured.steps) != sorted(set(measured.steps)) or measured.total_steps > MOST_SCHEDULE:
        raise ValueError(f"steps must rise, and total_steps be at most {MOST_SCHEDULE}, got total_steps {measured.total_steps}")


def _check_tensors(tensors: Mapping[str, Tensor], finite: Collection[str]) -> None:
    """Raise ValueError for a tensor that is empty or not float32, or not finite where it must be."""
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not tensor.numel():
            raise ValueError(f"{name} must be float32 and not empty, got {tensor.dtype} of shape {tuple(tensor.shape)}")
        if name in finite and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} must be finite")


def save_calibration(path: Path, calibration: Calibration) -> None:
    """Write a calibration atomically. Raises as ``atomic_write``."""
    _write(path, CALIBRATION, *_together(map(_calibration_alone, calibration.parts)))


def _calibration_alone(calibration: Calibration) -> Content:
    # Not copied, because values are large and a calibration's tensors are never views.
    tensors = {"values": calibration.values, "recent": calibration.recent, "sigmas": _own(calibration.sigmas)}
    header = {"count": calibration.count, "steps": list(calibration.steps), "settings": dict(calibration.settings)}
    return tensors | _named("scores", calibration.scores), header


def load_calibration(path: Path) -> Calibration:
    """Read a calibration. Adding maps to it gives the same bits as if it had never been saved. Raises as ``load_map``."""
    content = _read(path, CALIBRATION)
    with _whole(path):
        first, *others = (_calibration_of(*part) for part in _separated(*content))
        return replace(first, other_parts=tuple(others))


def _calibration_of(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Calibration:
    calibration = Calibration(
        values=tensors["values"],
        scores=_group("scores", tensors),
        recent=tensors["recent"],
        count=foreign.field(header, "count", COUNT),
        steps=tuple(foreign.field(header, "steps", _STEPS)),
        sigmas=tensors["sigmas"],
        settings=foreign.field(header, "settings", named(ANYTHING)),
    )
    _check_calibration(calibration)
    return calibration


def _check_calibration(calibration: Calibration) -> None:
    """Raise ValueError for a calibration that was not made from maps."""
    check_settings(calibration.settings)
    values, recent = calibration.values, calibration.recent
    if len(values.shape) not in MAP_AXES or 0 in values.shape[1:]:
        raise ValueError(f"values must have shape (images, steps, channels, ...), got {tuple(values.shape)}")
    if recent.dtype != torch.int64 or recent.ndim != 1:
        raise ValueError(f"recent must be a row of int64, got {recent.dtype} of shape {tuple(recent.shape)}")
    if calibration.count:
        parts = {"values": values, "sigmas": calibration.sigmas, **calibration.scores}
        _check_tensors(parts, finite=parts)
    if any(scores.ndim != 1 for scores in (calibration.sigmas, *calibration.scores.values())):
        raise ValueError("sigmas and scores must be rows of numbers")


def save_thresholds(path: Path, thresholds: Thresholds, *, replace: bool = True) -> None:
    """Write thresholds atomically. Raises as ``atomic_write``."""
    _write(path, THRESHOLDS, *_together(map(_thresholds_alone, thresholds.parts)), replace=replace)


def _thresholds_alone(thresholds: Thresholds) -> Content:
    tensors = _named("tau", {str(step): tau for step, tau in thresholds.tau.items()}) | _named("scores", thresholds.scores)
    return tensors, {"settings": dict(thresholds.settings)}


def load_thresholds(path: Path) -> Thresholds:
    """Read thresholds. Raises as ``load_map``."""
    content = _read(path, THRESHOLDS)
    with _whole(path):
        first, *others = (_thresholds_of(*part) for part in _separated(*content))
        return replace(first, other_parts=tuple(others))


def _thresholds_of(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Thresholds:
    tau = {_step(step): values for step, values in _group("tau", tensors).items()}
    settings = foreign.field(header, "settings", named(ANYTHING))
    thresholds = Thresholds(dict(sorted(tau.items())), _group("scores", tensors), settings)
    check_settings(thresholds.settings)
    _check_tensors(tensors, finite=tensors)
    if any(bool((scores[1:] < scores[:-1]).any()) for scores in thresholds.scores.values()):
        raise ValueError("its reference scores must be sorted")
    return thresholds


def _step(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= MOST_SCHEDULE):
        raise ValueError(f"the step of thresholds must be a whole number from 0 to {MOST_SCHEDULE}, got {shown(text)}")
    return int(text)


def _own(tensor: Tensor) -> Tensor:
    """A copy with its own memory, because safetensors rejects views of the same tensor."""
    return tensor.clone(memory_format=torch.contiguous_format)


def _named(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{group}.{name}": _own(tensor) for name, tensor in tensors.items()}


def _group(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = _beginning_with(f"{group}.", tensors)
    return {TEXT.check(f"the name of {group}", name): tensor for name, tensor in found.items()}


def _beginning_with(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _write(path: Path, kind: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any], *, replace: bool = True) -> None:
    entry = _checked_entry(kind, header)
    with atomic_write(path, replace=replace) as unfinished:
        try:
            save_file(dict(tensors), unfinished, {_ENTRY: entry})
        except SafetensorError as error:
            raise OSError(f"{path.name} cannot be written: {error}") from error


def _checked_entry(kind: str, header: Mapping[str, Any]) -> str:
    """The header as text.

    Raises:
        ValueError: it could not be read again.
    """
    entry = json.dumps({"kind": kind, "version": VERSION, **header})
    try:
        foreign.fields(entry, MOST_HEADER // 2)  # the other half is for the names of tensors
    except ValueError as error:
        raise ValueError(f"the {kind} cannot be saved, because it could not be read again ({error}).") from error
    return entry


def _read(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    header = _header(path)
    if header["kind"] != kind:
        raise ValueError(f"{path.name} is a file of kind {header['kind']}, not {kind}: load it with the node for its kind.")
    with _whole(path), safe_open(path, framework="pt") as file:
        # Cloned, because views of the file would keep Windows from replacing it.
        return {name: file.get_tensor(name).clone() for name in file.keys()}, header  # noqa: SIM118, it is not a mapping


def _header(path: Path) -> dict[str, Any]:
    """The header of a file of this pack and version."""
    foreign.check_file(path)
    with path.open("rb") as file:
        size = int.from_bytes(file.read(HEADER_SIZE), "little")
    if size > MOST_HEADER:
        raise ValueError(f"{path.name} is damaged or of another program: its header claims {size} bytes. Choose another file.")
    with _whole(path), safe_open(path, framework="pt") as file:
        entry = (file.metadata() or {}).get(_ENTRY)
        header = foreign.fields(entry or "{}")
    if entry is None:
        raise ValueError(f"{path.name} was not written by this pack: choose a file that one of its nodes saved.")
    with _whole(path):
        version = foreign.field(header, "version", COUNT)
        foreign.field(header, "kind", TEXT)
    if version != VERSION:
        raise ValueError(
            f"{path.name} has file version {version}, but this pack reads version {VERSION}: use the version of "
            "the pack that wrote it, or save it again with this one."
        )
    return header


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turn errors about a damaged file into ValueErrors that name it."""
    try:
        yield
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path.name} is damaged ({str(error).rstrip('.')}): save it again, or choose another file.") from error
