"""Maps, calibrations and thresholds as safetensors files: tensors by name, everything else as JSON in the header.

This is the only module that needs safetensors, which ComfyUI installs. No other module of ``uncertainty`` imports it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..calibration import Calibration
from ..maps import UncertaintyMap
from ..scores import Score
from ..thresholds import Thresholds
from .atomic import atomic_write

MAP, CALIBRATION, THRESHOLDS = "map", "calibration", "thresholds"
VERSION = 1
SUFFIX = ".safetensors"

# The header's only entry, because safetensors allows only text there.
_ENTRY = "uncertainty"


def kind_of(path: Path) -> str | None:
    """What a file contains, ``map``, ``calibration`` or ``thresholds``; None if it is not a readable file of this pack."""
    try:
        return str(_header(path).get("kind"))
    except (OSError, ValueError):
        return None


def save_map(path: Path, measured: UncertaintyMap, *, replace: bool = True) -> None:
    """Write a map atomically. Raises as ``atomic_write``."""
    tensors = _named("quantities", measured.quantities) | _named("standard_errors", measured.standard_errors)
    tensors["sigmas"] = _own(measured.sigmas)
    tensors |= _named("baselines", {name: torch.stack(score) for name, score in measured.baselines.items()})
    if measured.mask is not None:
        tensors["mask"] = _own(measured.mask)
    header = {
        "quantities": list(measured.quantities),
        "steps": list(measured.steps),
        "total_steps": measured.total_steps,
        "settings": dict(measured.settings),
        "places": list(measured.places),
    }
    _write(path, MAP, tensors, header, replace=replace)


def load_map(path: Path) -> UncertaintyMap:
    """Read a map. Quantities that did not exist in the version that wrote it are absent.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file contains something else, was written by another version, or is damaged.
    """
    tensors, header = _read(path, MAP)
    with _whole(path):
        names = header["quantities"]
        return UncertaintyMap(
            quantities={name: tensors[f"quantities.{name}"] for name in names},
            standard_errors={name: tensors[f"standard_errors.{name}"] for name in names},
            steps=tuple(header["steps"]),
            total_steps=header["total_steps"],
            sigmas=tensors["sigmas"],
            mask=tensors.get("mask"),
            settings=header["settings"],
            baselines={name: Score(*scores) for name, scores in _group("baselines", tensors).items()},
            places=tuple(header.get("places", ())),
        )


def save_calibration(path: Path, calibration: Calibration) -> None:
    """Write a calibration atomically. Raises as ``atomic_write``."""
    # Not copied, because values are large and a calibration's tensors are never views.
    tensors = {"values": calibration.values, "recent": calibration.recent, "sigmas": _own(calibration.sigmas)}
    header = {"count": calibration.count, "steps": list(calibration.steps), "settings": dict(calibration.settings)}
    _write(path, CALIBRATION, tensors | _named("scores", calibration.scores), header)


def load_calibration(path: Path) -> Calibration:
    """Read a calibration. Adding maps to it gives the same bits as if it had never been saved. Raises as ``load_map``."""
    tensors, header = _read(path, CALIBRATION)
    with _whole(path):
        return Calibration(
            values=tensors["values"],
            scores=_group("scores", tensors),
            recent=tensors["recent"],
            count=header["count"],
            steps=tuple(header["steps"]),
            sigmas=tensors["sigmas"],
            settings=header["settings"],
        )


def save_thresholds(path: Path, thresholds: Thresholds, *, replace: bool = True) -> None:
    """Write thresholds atomically. Raises as ``atomic_write``."""
    tensors = _named("tau", {str(step): tau for step, tau in thresholds.tau.items()}) | _named("scores", thresholds.scores)
    _write(path, THRESHOLDS, tensors, {"settings": dict(thresholds.settings)}, replace=replace)


def load_thresholds(path: Path) -> Thresholds:
    """Read thresholds. Raises as ``load_map``."""
    tensors, header = _read(path, THRESHOLDS)
    with _whole(path):
        tau = {int(step): values for step, values in _group("tau", tensors).items()}
        return Thresholds(dict(sorted(tau.items())), _group("scores", tensors), header["settings"])


def _own(tensor: Tensor) -> Tensor:
    """A copy with its own memory, because safetensors rejects views of the same tensor."""
    return tensor.clone(memory_format=torch.contiguous_format)


def _named(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{group}.{name}": _own(tensor) for name, tensor in tensors.items()}


def _group(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{group}."): tensor for name, tensor in tensors.items() if name.startswith(f"{group}.")}


def _write(path: Path, kind: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any], *, replace: bool = True) -> None:
    entry = json.dumps({"kind": kind, "version": VERSION, **header}, allow_nan=False)
    with atomic_write(path, replace=replace) as unfinished:
        try:
            save_file(dict(tensors), unfinished, {_ENTRY: entry})
        except SafetensorError as error:
            raise OSError(f"{path.name} cannot be written: {error}") from error


def _read(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    header = _header(path)
    if header.get("kind") != kind:
        raise ValueError(f"{path.name} is a file of kind {header.get('kind')}, not {kind}: load it with the node for its kind.")
    with _whole(path), safe_open(path, framework="pt") as file:
        # Cloned, because views of the file would keep Windows from replacing it.
        return {name: file.get_tensor(name).clone() for name in file.keys()}, header  # noqa: SIM118, it is not a mapping


def _header(path: Path) -> dict[str, Any]:
    """The header of a file of this pack and version."""
    with _whole(path), safe_open(path, framework="pt") as file:
        entry = (file.metadata() or {}).get(_ENTRY)
        header: dict[str, Any] = {**json.loads(entry or "{}")}
    if entry is None:
        raise ValueError(f"{path.name} was not written by this pack: choose a file that one of its nodes saved.")
    if header.get("version") != VERSION:
        raise ValueError(
            f"{path.name} has file version {header.get('version')}, but this pack reads version {VERSION}: use the version of "
            "the pack that wrote it, or save it again with this one."
        )
    return header


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turn errors about a damaged file into ValueErrors that name it."""
    try:
        yield
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is damaged ({str(error).rstrip('.')}): save it again, or choose another file.") from error
