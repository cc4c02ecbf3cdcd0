"""A pack for tests: its node passes its input on with a fault in it."""

from typing import Any

import torch


class AnyType(str):
    """A type that equals every other type, so that ComfyUI accepts any link."""

    def __ne__(self, other: object) -> bool:
        """Compare as ComfyUI does."""
        return False


ANY = AnyType("*")


def _latent(change: Any) -> Any:
    return lambda latent: latent | {"samples": change(latent["samples"])}


def _with(value: float) -> Any:
    def change(samples: torch.Tensor) -> torch.Tensor:
        samples = samples.clone()
        samples.view(-1)[0] = value
        return samples

    return change


FAULTS = {
    "latents with NaN": _latent(_with(float("nan"))),
    "latents with infinity": _latent(_with(float("inf"))),
    "no latents": _latent(lambda samples: samples[:0]),
    "latents of 5 channels": _latent(lambda samples: 1 + samples[:, :1].repeat(1, 5, 1, 1)),
    "latents without a batch": _latent(lambda samples: samples[0]),
    "an empty noise mask": lambda latent: latent | {"noise_mask": torch.zeros(1, 1, 8, 8)},
    "one image less": lambda images: images[:-1],
    "images of half the size": lambda images: images[:, ::2, ::2],
    "images with NaN": lambda images: torch.full_like(images, float("nan")),
    "masks of another batch": lambda images: torch.zeros(5, 8, 8),
    "one latent less": _latent(lambda samples: samples[:-1]),
    "a text": lambda given: "text",
    "nothing": lambda given: None,
}


class Faulty:
    """Passes its input on with a fault in it."""

    RETURN_TYPES = (ANY,)
    FUNCTION = "run"
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls) -> dict:
        return {"required": {"given": (ANY, {}), "fault": (list(FAULTS),)}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types: dict) -> bool:
        return True

    def run(self, given: Any, fault: str) -> tuple:
        return (FAULTS[fault](given),)


NODE_CLASS_MAPPINGS = {"Faulty": Faulty}
