"""Writes the files that views in the browser load; they lie in ComfyUI's temporary folder."""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import folder_paths
from safetensors.torch import save_file
from torch import Tensor

from ..uncertainty.storage.png_entry import as_image

FOLDER = "uncertainty"
# Number of runs whose files are kept. A view shows only the last run of its node, and a workflow has few views.
MOST_RUNS = 200
DIGITS = 12
STEM = re.compile(rf"[a-z]+_[0-9a-f]{{{DIGITS}}}")


def new_stem(label: str) -> str:
    """A new name for the files of one run of a node; names are never reused, because browsers cache files by name.

    Deletes the files of old runs, because ComfyUI empties its temporary folder only when it starts.
    """
    _forget_all_but(MOST_RUNS)
    return f"{label}_{secrets.token_hex(DIGITS // 2)}"


def _forget_all_but(runs: int) -> None:
    """Delete the files of all runs except the last ``runs``."""
    latest: dict[str, float] = {}
    files: dict[str, list[Path]] = {}
    for path in _folder().iterdir():
        known = STEM.match(path.name)
        if known is None:
            continue  # not a file of a view
        with suppress(FileNotFoundError):  # deleted by a concurrent call
            latest[known[0]] = max(latest.get(known[0], 0.0), path.stat().st_mtime)
            files.setdefault(known[0], []).append(path)
    for stem in sorted(latest, key=lambda stem: latest[stem])[: max(0, len(latest) - runs)]:
        for path in files[stem]:
            path.unlink(missing_ok=True)


def write_tensors(stem: str, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> dict[str, str]:
    """Write a safetensors file with ``about`` as JSON in its header. Returns the file as the browser asks ComfyUI for it."""
    path, file = _place(f"{stem}.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"about": json.dumps(about)})
    return file


def write_json(stem: str, value: Any) -> dict[str, str]:
    """Write a JSON file; ``value`` must not contain NaN."""
    path, file = _place(f"{stem}.json")
    path.write_text(json.dumps(value, allow_nan=False))
    return file


def write_grey(stem: str, picture: Tensor) -> dict[str, str]:
    """Write the grey values of a picture (height, width, 3), 0 to 1, as a PNG; ``heatmaps.overlay`` uses the same grey."""
    path, file = _place(f"{stem}.png")
    as_image(picture[..., :3]).convert("L").save(path, compress_level=1)  # same weights as heatmaps.overlay
    return file


def write_sizes(stem: str, picture: Tensor, longest: Sequence[int]) -> list[dict[str, str]]:
    """Write a picture (height, width, 3), 0 to 1, as one JPEG for each longest side in pixels, largest first; never enlarged."""
    image, files = as_image(picture[..., :3]), []
    for size in longest:
        image.thumbnail((size, size))
        path, file = _place(f"{stem}_{size}.jpg")
        image.save(path, quality=90)
        files.append(file)
    return files


def _folder() -> Path:
    folder = Path(folder_paths.get_temp_directory()) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _place(name: str) -> tuple[Path, dict[str, str]]:
    return _folder() / name, {"filename": name, "subfolder": FOLDER, "type": "temp"}
