"""Probes: noisy copies of the denoised image, and what the network makes of them.

Their noise comes from private generators, one stream per image, step and model call: neither the batch nor the global generator
changes it.

Orthogonal probes: most Monte-Carlo noise in an element's variance over M probes comes from the elements that influence it most,
those of the same place. Noise that is orthogonal, over the M probes, between M - 1 such elements adds none of it. (Probing a
diagonal with orthogonal vectors, Bekas, Kokiopoulou & Saad 2007, with each vector's direction drawn at random.)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .noising import Noising, per_image

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""``score(x, sigma)``: noise prediction (B, C, *spatial) for x of that shape and sigma (B,)."""

MIN_SAMPLES = 2

# Keeps the streams apart from anything else that is seeded with the same numbers.
_DOMAIN = 0x756E6365


@dataclass(frozen=True)
class Probes:
    """Everything known of the probes of one model call: ``x̂ⁱ = a·x̂0 + b·nⁱ`` and ``eⁱ = ε(x̂ⁱ, σ)``, i = 1..M.

    Attributes:
        noise: the probe noise nⁱ, (M, B, C, *spatial).
        scores: noise predictions eⁱ at the probes, same shape.
        perturbed: the probes x̂ⁱ themselves, same shape.
        center: noise prediction ε at x, (B, C, *spatial).
        noising: coefficients of this noise level.
        sigma: noise level, (B,).
        orthogonal: whether the noise is that of ``orthogonal``, instead of independent from probe to probe.
    """

    noise: Tensor
    scores: Tensor
    perturbed: Tensor
    center: Tensor
    noising: Noising
    sigma: Tensor
    orthogonal: bool = False

    @property
    def degrees(self) -> int:
        """What sums of products of deviations are divided by. The mean of orthogonal noise is known, 0, and takes none."""
        return len(self.noise) - (0 if self.orthogonal else 1)

    @property
    def deviations(self) -> tuple[Tensor, Tensor]:
        """Probe noise and noise predictions without their means over the probes, (M, B, C, *spatial) each."""
        return self.noise - self.noise.mean(0), self.scores - self.scores.mean(0)

    @property
    def denoised(self) -> Tensor:
        """The denoised image x̂0 that was noised, (B, C, *spatial)."""
        a, b = (per_image(value, self.center.ndim) for value in (self.noising.a, self.noising.b))
        return (self.perturbed[0] - b * self.noise[0]) / a


def ratio_squared(probes: Probes) -> Tensor:
    """(b/a)², shaped to broadcast over (B, C, *spatial): what turns a variance of noise predictions into one of images."""
    return per_image((probes.noising.b / probes.noising.a).square(), probes.center.ndim)


def check_samples(samples: int) -> None:
    """Raise ValueError unless a variance can be had from that many probes."""
    if samples < MIN_SAMPLES:
        raise ValueError(f"samples must be at least {MIN_SAMPLES}, got {samples}: a variance needs two probes.")


def orthogonal(noise: Tensor) -> Tensor:
    """Normal noise (M, C, ...) with sum 0 and mean square 1 over the M probes, and orthogonal over them within groups.

    A group is M - 1 channels of one place; where there are fewer, all channels of as many neighbouring places as fit. Each
    element keeps mean 0 and variance 1 but not the tails of normal noise: its kurtosis is 3·(M - 1)/(M + 1), and where a group is
    full its squares add up to the same in every probe.
    """
    samples = len(noise)
    exact = noise.double()  # nearly parallel columns lose digits
    flat = (exact - exact.mean(0)).flatten(2)
    together = max(1, (samples - 1) // flat.shape[1])
    parts = []
    for places in torch.split(flat, max(1, flat.shape[2] // together) * together, 2):
        # The last few places, if they fill no group, are a smaller group of their own.
        size = min(together, places.shape[2])
        groups = places.reshape(*places.shape[:2], -1, size)
        channels = [_orthonormal(chunk) for chunk in torch.split(groups, max(1, (samples - 1) // size), 1)]
        parts.append(torch.cat(channels, 1).flatten(2))
    return (math.sqrt(samples) * torch.cat(parts, 2)).reshape(noise.shape).to(noise)


def _orthonormal(groups: Tensor) -> Tensor:
    """Columns over the probes, (M, channels, groups, places), made orthonormal in each group."""
    columns = groups.permute(2, 0, 1, 3).flatten(2)
    basis: Tensor
    basis, triangle = torch.linalg.qr(columns)
    # These signs make it Gram-Schmidt, of which normal columns come out uniformly distributed.
    basis = basis * torch.diagonal(triangle, dim1=-2, dim2=-1).sign()[:, None]
    return basis.reshape(*basis.shape[:2], groups.shape[1], groups.shape[3]).permute(1, 2, 0, 3)


def probe_noise(
    shape: Sequence[int], samples: int, seed: int, step: int, call: int, images: Sequence[int], *, orthogonally: bool = False
) -> Tensor:
    """Standard normal probes, shape (M, B, C, *spatial), float32 on the CPU.

    An image keeps its probes whatever batch it is in. Independent probes of a larger M begin with those of a smaller one.

    Args:
        shape: of one image, (C, *spatial).
        samples: M, probes per image.
        seed: the node's seed, 0 to 2⁶⁴ - 1.
        step: number of the sampling step.
        call: number of the model call within the step.
        images: index of each image in its batch.
        orthogonally: as ``orthogonal`` makes them, instead of independent.
    """
    streams = []
    for image in images:
        state = np.random.SeedSequence([_DOMAIN, seed, step, call, image]).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(state))
        noise = torch.stack([torch.randn(tuple(shape), generator=generator) for _ in range(samples)])
        streams.append(orthogonal(noise) if orthogonally else noise)
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
