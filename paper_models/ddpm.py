"""DDPM (Ho et al. 2020, arXiv 2006.11239), as a folder of the library diffusers: ``config.json`` beside the weights."""

import json
from pathlib import Path
from typing import Any

from torch import nn

CLASS = "UNet2DModel"
SCHEDULER = "scheduler_config.json"
# ComfyUI's names for what diffusers calls so.
SCHEDULES = {"linear": "sqrt_linear", "scaled_linear": "linear", "squaredcos_cap_v2": "cosine"}


def is_folder_of(path: Path) -> bool:
    """Whether the file is the weights in such a folder."""
    config = path.parent / "config.json"
    return config.is_file() and json.loads(config.read_text()).get("_class_name") == CLASS


def sampling(path: Path) -> dict[str, Any]:
    """Noise schedule as ComfyUI's ``sampling_settings``: of the folder's scheduler, or as published.

    Raises:
        ValueError: a schedule, or a prediction, that the paper's model has not.
    """
    found: dict[str, Any] = {}
    for place in (path.parent / SCHEDULER, path.parent / "scheduler" / SCHEDULER, path.parent.parent / "scheduler" / SCHEDULER):
        if place.is_file():
            found = json.loads(place.read_text())
            break
    schedule = found.get("beta_schedule", "linear")
    if schedule not in SCHEDULES or found.get("prediction_type", "epsilon") != "epsilon":
        raise ValueError(
            f"{path.parent.name} has schedule {schedule}, predicting {found.get('prediction_type')}: noise is expected."
        )
    return {
        "beta_schedule": SCHEDULES[schedule],
        "linear_start": found.get("beta_start", 1e-4),
        "linear_end": found.get("beta_end", 0.02),
        "timesteps": found.get("num_train_timesteps", 1000),
    }


def from_folder(path: Path) -> nn.Module:
    """The network of a folder, by its weights' file; the library also knows older names of its parts.

    Raises:
        RuntimeError: diffusers is not installed.
    """
    try:
        from diffusers import UNet2DModel
    except ImportError as error:
        raise RuntimeError("models in the format of diffusers need a package: pip install diffusers.") from error
    network: nn.Module = UNet2DModel.from_pretrained(
        path.parent, use_safetensors=path.suffix == ".safetensors", local_files_only=True, low_cpu_mem_usage=False
    )
    return network
