"""Digests that identify images and the settings of runs."""

import json
from hashlib import blake2b
from typing import Any

from ..maps import UncertaintyMap
from ..settings import compared, of_guidance


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
    """A digest of each image.

    It also covers the settings, because at the first step an image is the same for every sampler.
    """
    about = json.dumps(described(measured) | of_guidance(measured.settings), sort_keys=True).encode()
    return [_digest(about + image.contiguous().numpy().tobytes()) for image in measured.values.transpose(0, 1)]


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()
