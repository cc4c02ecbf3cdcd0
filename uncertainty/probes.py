"""Probe noise from private generators: one stream per image, step and model call, untouched by batching or the global RNG."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""``score(x, sigma)``: noise prediction (B, C, *spatial) for x of that shape and sigma (B,)."""

# Keeps the streams apart from anything else that is seeded with the same numbers.
_DOMAIN = 0x756E6365


def probe_noise(shape: Sequence[int], samples: int, seed: int, step: int, call: int, images: Sequence[int]) -> Tensor:
    """Standard normal probes, shape (M, B, C, *spatial), float32 on the CPU.

    The first probes of a larger M are those of a smaller one, and an image keeps its probes whatever batch it is in.

    Args:
        shape: of one image, (C, *spatial).
        samples: M, probes per image.
        seed: the node's seed, 0 to 2⁶⁴ - 1.
        step: number of the sampling step.
        call: number of the model call within the step.
        images: index of each image in its batch.
    """
    streams = []
    for image in images:
        state = np.random.SeedSequence([_DOMAIN, seed, step, call, image]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(state))
        streams.append(torch.stack([torch.randn(tuple(shape), generator=generator) for _ in range(samples)]))
    return torch.stack(streams, dim=1)


def score_probes(score: Denoiser, perturbed: Tensor, sigma: Tensor, probes_per_call: int | None = None) -> Tensor:
    """Noise predictions of all probes, at least float32, shape (M, B, C, *spatial).

    Probes are stacked perturbation-major, so that conditioning tiled to the batch stays aligned with its image.

    Args:
        score: the network.
        perturbed: probes (M, B, C, *spatial).
        sigma: noise levels (B,).
        probes_per_call: probes that go through the network at once; all of them if None.
    """
    results = []
    for chunk in torch.split(perturbed, probes_per_call or len(perturbed)):
        predicted = score(chunk.flatten(0, 1), sigma.repeat(len(chunk)))
        results.append(predicted.to(torch.promote_types(predicted.dtype, torch.float32)).reshape(chunk.shape))
    return torch.cat(results)
