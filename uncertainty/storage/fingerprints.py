"""Digests that identify images and the settings of runs."""

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import torch

from ..maps import UncertaintyMap
from ..quantities import drift
from ..settings import compared, of_guidance

# Settings that are not compared but tell images apart.
OF_THE_IMAGE = ("seed", "prompt")


def described(measured: UncertaintyMap) -> dict[str, Any]:
    """Settings that must agree for scores to be comparable: the ``compared`` ones, recorded steps, latent shape and mask."""
    return compared(measured.settings) | {
        "recorded steps": list(measured.steps),
        "latent shape": list(measured.shape[2:]),
        "masked": measured.mask is not None,
    }


def fingerprint(measured: UncertaintyMap) -> str:
    """Digest of the settings that must agree for scores to be comparable."""
    return _digest(json.dumps(described(measured), sort_keys=True).encode())


def image_digests(measured: UncertaintyMap) -> list[str]:
    """A digest of each image: of its map, its drift, the settings, the seed, the prompt, and its place in the batch.

    The map alone would not do: at the first step it is the same for every sampler, and black images have equal maps. The drift is
    that of the last steps: it tells apart images that went different ways after they were measured.
    """
    about = described(measured) | of_guidance(measured.settings)
    about |= {name: measured.settings.get(name) for name in OF_THE_IMAGE}
    run = json.dumps(about, sort_keys=True).encode()
    drifted = [measured.of_run[drift.QUANTITY.name]] if drift.QUANTITY.name in measured.of_run else []
    of_run = drifted if measured.quantities else list(measured.of_run.values())  # other maps of a run are there if asked for
    told = torch.cat([*([measured.values] if measured.quantities else []), *(values[None] for values in of_run)])
    maps = (image.contiguous().numpy().tobytes() for image in told.transpose(0, 1))
    return [_digest(run + str(place).encode() + values) for place, values in zip(measured.places, maps, strict=True)]


def batch_digest(images: Sequence[str]) -> str:
    """A digest of a batch, given those of its images."""
    return _digest("".join(images).encode())


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()
