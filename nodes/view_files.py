"""Writes the files that views in the browser load; they lie in ComfyUI's temporary folder."""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import folder_paths
from comfy_execution.utils import get_executing_context
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from ..uncertainty.storage.picture_entry import as_image

FOLDER = "uncertainty"
# What is kept: so many runs, and so many bytes. A view shows only the last run of its node, and a workflow has few views.
MOST_RUNS = 200
MOST_BYTES = 2_000_000_000
# Of clips: 16 frames a second, as many video models have it. Pictures do not say their own rate.
FRAME_MS = 62
CLIP = 768  # longer side of clips in pixels
CLIPS_AT_ONCE = 4  # each holds all its frames
DIGITS = 12
STEM = re.compile(rf"[a-z]+_[0-9a-f]{{{DIGITS}}}")


# Runs of the views in the prompt that is being executed, by its id. They are kept, because all of them are on the screen.
_of_prompt: dict[str, set[str]] = {}


def new_stem(label: str) -> str:
    """A new name for the files of one run of a node; names are never reused, because browsers cache files by name.

    Deletes the files of old runs, because ComfyUI empties its temporary folder only when it starts.
    """
    stem = f"{label}_{secrets.token_hex(DIGITS // 2)}"
    executing = get_executing_context()
    prompt = executing.prompt_id if executing else stem
    if prompt not in _of_prompt:
        _of_prompt.clear()
    _of_prompt.setdefault(prompt, set()).add(stem)
    forget_old_runs()
    return stem


def forget_old_runs() -> None:
    """Delete the files of the oldest runs until ``MOST_RUNS`` and ``MOST_BYTES`` hold. Call it when a run has been written.

    The newest run and all runs of its prompt are kept whole, even if they exceed the bounds.
    """
    latest: dict[str, float] = {}
    sizes: dict[str, int] = {}
    files: dict[str, list[Path]] = {}
    for path in _folder().iterdir():
        known = STEM.match(path.name)
        if known is None:
            continue  # not a file of a view
        with suppress(FileNotFoundError):  # deleted by a concurrent call
            status = path.stat()
            latest[known[0]] = max(latest.get(known[0], 0.0), status.st_mtime)
            sizes[known[0]] = sizes.get(known[0], 0) + status.st_size
            files.setdefault(known[0], []).append(path)
    kept = set().union(*_of_prompt.values())
    size, runs = sum(sizes.values()), len(latest)
    for stem in sorted(latest, key=lambda stem: latest[stem])[:-1]:
        if runs <= MOST_RUNS and size <= MOST_BYTES:
            break
        if stem not in kept:
            for path in files[stem]:
                with suppress(OSError):  # a folder of that name, or on Windows a file that is being sent
                    path.unlink()
            size, runs = size - sizes[stem], runs - 1


def write_tensors(stem: str, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> dict[str, str]:
    """Write a safetensors file with ``about`` as JSON in its header. Returns the file as the browser asks ComfyUI for it."""
    path, file = _place(f"{stem}.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"about": json.dumps(about)})
    return file


def write_json(stem: str, value: Any) -> dict[str, str]:
    """Write a JSON file; ``value`` must not contain NaN."""
    path, file = _place(f"{stem}.json")
    path.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")
    return file


def write_colours(stem: str, picture: Tensor) -> dict[str, str]:
    """Write a picture (height, width, 3), 0 to 1, as a PNG, whose colours are exact."""
    path, file = _place(f"{stem}.png")
    as_image(picture[..., :3]).save(path, compress_level=1)
    return file


def write_clips(stem: str, frames: Tensor) -> list[dict[str, str]]:
    """Write videos (B, frames, height, width, 3), 0 to 1, each as a WebP that plays without end; none if they have one frame."""
    if frames.shape[1] < 2:
        return []

    def small(frame: Tensor) -> Image.Image:
        picture = as_image(frame[..., :3])
        picture.thumbnail((CLIP, CLIP))
        return picture

    def write(index: int) -> dict[str, str]:
        pictures = [small(frame) for frame in frames[index]]
        path, file = _place(f"{stem}_{index}_clip.webp")
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=FRAME_MS, loop=0, quality=80, method=0)
        return file

    with ThreadPoolExecutor(CLIPS_AT_ONCE) as pool:
        return list(pool.map(write, range(len(frames))))


def write_sizes(stem: str, picture: Tensor, longest: Sequence[int]) -> list[dict[str, str]]:
    """Write a picture (height, width, 3), 0 to 1, as one JPEG for each longest side in pixels, largest first; never enlarged."""
    image, files = as_image(picture[..., :3]), []
    for size in longest:
        image.thumbnail((size, size))
        path, file = _place(f"{stem}_{size}.jpg")
        image.save(path, quality=90)
        files.append(file)
    return files


def write_pictures(stem: str, pictures: Tensor, longest: Sequence[int]) -> list[list[dict[str, str]]]:
    """Write pictures (B, height, width, 3), several at a time, each as ``write_sizes`` does."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda index: write_sizes(f"{stem}_{index}", pictures[index], longest), range(len(pictures))))


def results(view: Mapping[str, str], images: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """What a node with a view tells the browser.

    The view's file is named by text: newer front-ends take every dictionary with a ``filename`` for media.

    Args:
        view: the file that the view loads.
        images: pictures for the queue, the list of assets and App mode. The node itself shows the view instead.
    """
    return {"uncertainty_view": [view["filename"]], "images": list(images)}


def _folder() -> Path:
    folder = Path(folder_paths.get_temp_directory()) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _place(name: str) -> tuple[Path, dict[str, str]]:
    return _folder() / name, {"filename": name, "subfolder": FOLDER, "type": "temp"}
