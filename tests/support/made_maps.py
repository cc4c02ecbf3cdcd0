"""Maps with known scores."""

import torch

from uncertainty.maps import UncertaintyMap
from uncertainty.quantities import PROBED


def made(images: int, seed: int = 0, **settings: object) -> UncertaintyMap:
    """A map in which image i has a score of about i + seed/1000."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(1, images, 2, 4, 4, generator=generator) * 0.1 + torch.arange(images).reshape(1, -1, 1, 1, 1)
    return UncertaintyMap(
        quantities=dict.fromkeys(PROBED, values + seed / 1000),
        standard_errors=dict.fromkeys(PROBED, torch.full((1, images), 0.01)),
        steps=(3,),
        total_steps=4,
        sigmas=torch.tensor([0.5]),
        settings={"seed": seed, "model": "SD15 abc", "sampler": "euler", "prompt": "p", "samples": 5} | settings,
    )
