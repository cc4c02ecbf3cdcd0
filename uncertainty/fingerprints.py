"""By what images and settings are known again: digests."""

import json
from hashlib import blake2b
from typing import Any

from .calibration import MAY_DIFFER
from .maps import UncertaintyMap


def described(found: UncertaintyMap) -> dict[str, Any]:
    """The settings under which scores compare: those that count for a calibration, the steps, the size, and whether masked."""
    settings = {name: value for name, value in found.settings.items() if name not in MAY_DIFFER}
    return settings | {
        "recorded steps": list(found.steps),
        "latent shape": list(found.values.shape[2:]),
        "masked": found.mask is not None,
    }


def fingerprint(found: UncertaintyMap) -> str:
    """Digest of the settings under which the map's scores compare with others."""
    return _digest(json.dumps(described(found), sort_keys=True).encode())


def image_digests(found: UncertaintyMap) -> list[str]:
    """A digest of each image's map, by which it is known again."""
    return [_digest(image.contiguous().numpy().tobytes()) for image in found.values.transpose(0, 1)]


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()
