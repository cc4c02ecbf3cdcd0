"""DDPM (Ho et al. 2020, arXiv 2006.11239), loaded from a folder of the library diffusers: the weights and ``config.json``."""

from pathlib import Path
from typing import Any

from torch import nn

from ..uncertainty.kinds import NUMBER, TEXT, whole
from ..uncertainty.storage import foreign

CLASS = "UNet2DModel"
MOST_BYTES = 1_000_000
MOST_TIMES = 100_000  # ComfyUI makes tables of this length; published models have 1,000
SCHEDULER = "scheduler_config.json"
# ComfyUI's names of the schedules, by those of diffusers.
SCHEDULES = {"linear": "sqrt_linear", "scaled_linear": "linear", "squaredcos_cap_v2": "cosine"}


def is_folder_of(path: Path) -> bool:
    """Whether the file lies in such a folder."""
    config = path.parent / "config.json"
    return config.is_file() and _settings(config).get("_class_name") == CLASS


def _settings(path: Path) -> dict[str, Any]:
    """The settings in a file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return foreign.read_fields(path, MOST_BYTES)
    except ValueError as error:
        raise ValueError(f"{path.name} is damaged ({error}): download it again.") from error


def sampling(path: Path) -> dict[str, Any]:
    """Noise schedule as ComfyUI's ``sampling_settings``, from the folder's scheduler or, without one, as published.

    Raises:
        ValueError: the schedule is unknown or impossible, or the model does not predict noise.
    """
    given: dict[str, Any] = {}
    for place in (path.parent / SCHEDULER, path.parent / "scheduler" / SCHEDULER, path.parent.parent / "scheduler" / SCHEDULER):
        if place.is_file():
            given = _settings(place)
            break
    published = {"beta_schedule": "linear", "prediction_type": "epsilon", "beta_start": 1e-4, "beta_end": 0.02}
    given = {**published, "num_train_timesteps": 1000, **given}
    schedule, prediction = (foreign.field(given, name, TEXT) for name in ("beta_schedule", "prediction_type"))
    if schedule not in SCHEDULES:
        raise ValueError(f"{path.parent.name} has beta_schedule {schedule}, which must be one of {', '.join(SCHEDULES)}.")
    if prediction != "epsilon":
        raise ValueError(f"{path.parent.name} has prediction_type {prediction}: use a model that predicts noise (epsilon).")
    return {
        "beta_schedule": SCHEDULES[schedule],
        "linear_start": foreign.field(given, "beta_start", NUMBER),
        "linear_end": foreign.field(given, "beta_end", NUMBER),
        "timesteps": foreign.field(given, "num_train_timesteps", whole(1, MOST_TIMES)),
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
