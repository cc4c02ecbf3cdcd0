"""DDPM (Ho et al. 2020, arXiv 2006.11239), loaded from a folder of the library diffusers: the weights and ``config.json``."""

import json
from pathlib import Path
from typing import Any

from torch import nn

CLASS = "UNet2DModel"
SCHEDULER = "scheduler_config.json"
# ComfyUI's names of the schedules, by those of diffusers.
SCHEDULES = {"linear": "sqrt_linear", "scaled_linear": "linear", "squaredcos_cap_v2": "cosine"}


def is_folder_of(path: Path) -> bool:
    """Whether the file lies in such a folder."""
    config = path.parent / "config.json"
    return config.is_file() and json.loads(config.read_text()).get("_class_name") == CLASS


def sampling(path: Path) -> dict[str, Any]:
    """Noise schedule as ComfyUI's ``sampling_settings``, from the folder's scheduler or, without one, as published.

    Raises:
        ValueError: the schedule is unknown, or the model does not predict noise.
    """
    scheduler: dict[str, Any] = {}
    for place in (path.parent / SCHEDULER, path.parent / "scheduler" / SCHEDULER, path.parent.parent / "scheduler" / SCHEDULER):
        if place.is_file():
            scheduler = json.loads(place.read_text())
            break
    schedule, prediction = scheduler.get("beta_schedule", "linear"), scheduler.get("prediction_type", "epsilon")
    if schedule not in SCHEDULES:
        raise ValueError(f"{path.parent.name} has beta_schedule {schedule}, which must be one of {', '.join(SCHEDULES)}.")
    if prediction != "epsilon":
        raise ValueError(f"{path.parent.name} has prediction_type {prediction}: use a model that predicts noise (epsilon).")
    return {
        "beta_schedule": SCHEDULES[schedule],
        "linear_start": scheduler.get("beta_start", 1e-4),
        "linear_end": scheduler.get("beta_end", 0.02),
        "timesteps": scheduler.get("num_train_timesteps", 1000),
    }


def from_folder(path: Path) -> nn.Module:
    """The network of a folder, given its weights file. The library also reads older names of the network's parts.

    Raises:
        RuntimeError: diffusers is not installed.
    """
    try:
        from diffusers import UNet2DModel
    except ImportError as error:
        raise RuntimeError("models in diffusers format need the package diffusers: run pip install diffusers.") from error
    network: nn.Module = UNet2DModel.from_pretrained(
        path.parent, use_safetensors=path.suffix == ".safetensors", local_files_only=True, low_cpu_mem_usage=False
    )
    return network
