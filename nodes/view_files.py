"""Files for the views in the browser: in ComfyUI's temporary folder, fetched through its own ``/view``."""

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

FOLDER = "uncertainty"


def new_stem(label: str) -> str:
    """A name nobody had before: browsers cache by name, and the temporary folder is emptied at every start."""
    return f"{label}_{secrets.token_hex(6)}"


def write_tensors(stem: str, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> dict[str, str]:
    """One safetensors file, ``about`` as JSON in its header; answers with what the browser asks ``/view`` for."""
    path, file = _place(f"{stem}.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"about": json.dumps(about)})
    return file


def write_json(stem: str, value: Any) -> dict[str, str]:
    """One JSON file, which may hold no NaN."""
    path, file = _place(f"{stem}.json")
    path.write_text(json.dumps(value, allow_nan=False))
    return file


def write_grey(stem: str, picture: Tensor) -> dict[str, str]:
    """The grey of a picture (height, width, 3), 0 to 1, as ``render.overlay`` lays it under a map, without loss."""
    path, file = _place(f"{stem}.png")
    as_image(picture[..., :3]).convert("L").save(path, compress_level=1)  # the weights of render.overlay
    return file


def write_sizes(stem: str, picture: Tensor, longest: Sequence[int]) -> list[dict[str, str]]:
    """A picture (height, width, 3), 0 to 1, as a JPEG for each longest side in pixels, largest first; none is enlarged."""
    image, files = as_image(picture[..., :3]), []
    for size in longest:
        image.thumbnail((size, size))
        path, file = _place(f"{stem}_{size}.jpg")
        image.save(path, quality=90)
        files.append(file)
    return files


def as_image(picture: Tensor) -> Image.Image:
    """A picture (height, width, channels), 0 to 1, cut off as ComfyUI's own nodes do, so that equal pictures are equal files."""
    return Image.fromarray((picture.float().cpu().numpy() * 255).clip(0, 255).astype(np.uint8))


def _place(name: str) -> tuple[Path, dict[str, str]]:
    folder = Path(folder_paths.get_temp_directory()) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name, {"filename": name, "subfolder": FOLDER, "type": "temp"}
