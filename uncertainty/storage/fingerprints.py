"""Digests that identify images and the settings of runs."""

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

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
    told = [*(measured.values if measured.quantities else ()), *of_run]  # of steps and of the run, (B, C, *spatial) each
    return [
        # One by one: maps may lie in files because they do not fit into memory.
        _digest(run + str(place).encode(), *(values[image].contiguous().numpy().data for values in told))
        for image, place in enumerate(measured.places)
    ]


def batch_digest(images: Sequence[str]) -> str:
    """A digest of a batch, given those of its images."""
    return _digest("".join(images).encode())


def _digest(*pieces: bytes | memoryview) -> str:
    digest = blake2b(digest_size=8)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
