"""By what images and settings are known again: digests."""

import json
from hashlib import blake2b
from typing import Any

from ..calibration import MAY_DIFFER
from ..maps import UncertaintyMap

# What makes another image of the same map, where there is guidance at all: the first recorded step is measured before it.
GUIDANCE = ("strength", "percentile", "direction", "gradient", "mask_scope", "mask_side", "control")


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
    """A digest of each image's map and settings, by which it is known again: a first step is the same under any sampler."""
    settings = described(found)
    if found.settings.get("strength"):
        settings |= {name: found.settings.get(name) for name in GUIDANCE}
    made = json.dumps(settings, sort_keys=True).encode()
    return [_digest(made + image.contiguous().numpy().tobytes()) for image in found.values.transpose(0, 1)]


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()
