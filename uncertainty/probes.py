"""Probes: noisy copies of the denoised image, and the network's noise predictions for them.

The noise comes from separate generators, one stream per image, step and model call, so it depends neither on the batch nor on
the global generator.

Orthogonal probes: most of the Monte-Carlo noise in an element's variance over M probes comes from the elements that influence it
most, those at the same place. If the noise of M - 1 such elements is orthogonal over the M probes, this contribution vanishes.
(Estimating a diagonal with orthogonal vectors, Bekas, Kokiopoulou & Saad 2007, with random directions.)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .noising import Noising, per_image
from .parts import Parts

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""``score(x, sigma)``: noise prediction (B, C, *spatial) for x of that shape and sigma (B,)."""

BothScores = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Like a ``Denoiser``, but it also returns the noise prediction under the prompt alone, from the same call."""

MIN_SAMPLES = 2

SEEDS = 2**64
"""Seeds are numbers below this one."""

# Keeps these random streams independent of others that are seeded with the same numbers.
_DOMAIN = 0x756E6365


@dataclass(frozen=True)
class Probes:
    """The probes of one model call: ``x̂ⁱ = a·x̂0 + b·nⁱ`` and ``eⁱ = ε(x̂ⁱ, σ)``, i = 1..M.

    Attributes:
        noise: the probe noise nⁱ, (M, B, C, *spatial).
        scores: noise predictions eⁱ at the probes, same shape.
        perturbed: the probes x̂ⁱ, same shape.
        center: noise prediction ε at x, (B, C, *spatial).
        noising: coefficients of this noise level.
        sigma: noise level, (B,).
        orthogonal: whether the noise was made by ``orthogonal``; otherwise it is independent from probe to probe.
        conditional: noise predictions ε_cⁱ at the probes under the prompt alone, same shape as ``scores``; None if the scores
            are these.
    """

    noise: Tensor
    scores: Tensor
    perturbed: Tensor
    center: Tensor
    noising: Noising
    sigma: Tensor
    orthogonal: bool = False
    conditional: Tensor | None = None

    @property
    def prompted(self) -> Tensor:
        """The noise predictions under the prompt alone, (M, B, C, *spatial)."""
        return self.scores if self.conditional is None else self.conditional

    def only(self, probes: Sequence[int]) -> "Probes":
        """Some of the probes."""
        chosen = list(probes)
        return replace(
            self,
            noise=self.noise[chosen],
            scores=self.scores[chosen],
            perturbed=self.perturbed[chosen],
            conditional=None if self.conditional is None else self.conditional[chosen],
        )

    def split(self, parts: Parts) -> "list[Probes]":
        """The probes of each part of packed latents."""
        noise, scores, perturbed, center = map(parts.split, (self.noise, self.scores, self.perturbed, self.center))
        conditional = [None] * len(parts) if self.conditional is None else parts.split(self.conditional)
        return [
            replace(self, noise=n, scores=s, perturbed=p, center=c, conditional=k)
            for n, s, p, c, k in zip(noise, scores, perturbed, center, conditional, strict=True)
        ]

    @property
    def degrees(self) -> int:
        """Degrees of freedom, the divisor of covariance sums: M - 1, or M for orthogonal noise, whose mean is exactly 0."""
        return len(self.noise) - (0 if self.orthogonal else 1)

    @property
    def deviations(self) -> tuple[Tensor, Tensor]:
        """Probe noise and noise predictions minus their means over the probes, (M, B, C, *spatial) each."""
        return self.noise - self.noise.mean(0), self.scores - self.scores.mean(0)

    @property
    def denoised(self) -> Tensor:
        """The denoised image x̂0 that was noised, (B, C, *spatial)."""
        a, b = (per_image(value, self.center.ndim) for value in (self.noising.a, self.noising.b))
        return (self.perturbed[0] - b * self.noise[0]) / a


def ratio_squared(probes: Probes) -> Tensor:
    """(b/a)², broadcastable over (B, C, *spatial): converts a variance of noise predictions to one of denoised images."""
    return per_image((probes.noising.b / probes.noising.a).square(), probes.center.ndim)


def check_samples(samples: int) -> None:
    """Raise ValueError if there are too few probes for a variance."""
    if samples < MIN_SAMPLES:
        raise ValueError(
            f"samples must be at least {MIN_SAMPLES}, got {samples}: a variance needs two. (0 records what costs nothing.)"
        )


def orthogonal(noise: Tensor) -> Tensor:
    """Noise with sum 0 and mean square 1 over the M probes, orthogonal over the probes within groups, from normal (M, C, ...).

    A group is M - 1 channels of one place or, if there are fewer channels, all channels of as many neighbouring places as fit.
    Each element keeps mean 0 and variance 1 but has lighter tails than normal noise: its kurtosis is 3·(M - 1)/(M + 1). In a full
    group, the sum of squares is the same in every probe.
    """
    samples = len(noise)
    flat = noise.flatten(2)
    together = max(1, (samples - 1) // flat.shape[1])
    parts = []
    for places in torch.split(flat, max(1, flat.shape[2] // together) * together, 2):
        # If the last places do not fill a group, they form a smaller one.
        size = min(together, places.shape[2])
        groups = places.reshape(*places.shape[:2], -1, size)
        channels = [_orthogonal(chunk) for chunk in torch.split(groups, max(1, (samples - 1) // size), 1)]
        parts.append(torch.cat(channels, 1).flatten(2))
    return torch.cat(parts, 2).reshape(noise.shape)


def _orthogonal(groups: Tensor) -> Tensor:
    """The columns over the probes, (M, channels, groups, places), orthogonal within each group, with sum 0 and mean square 1.

    Gram-Schmidt turns normal columns into uniformly distributed ones. Done twice, it keeps nearly parallel columns orthogonal too
    (Giraud, Langou & Rozložník 2005). Unlike a batched QR decomposition, it goes through all groups at once.
    """
    samples, channels, count, places = groups.shape
    columns = groups.permute(1, 3, 0, 2).reshape(-1, samples, count).double()  # nearly parallel columns lose precision
    columns = columns - columns.mean(1, keepdim=True)
    basis = torch.empty_like(columns)
    for number, column in enumerate(columns):
        known = basis[:number]
        for _ in range(2):
            column = column - (known * (known * column).sum(1, keepdim=True)).sum(0)
        basis[number] = column / column.square().sum(0).sqrt()  # norm would go through them one by one
    scaled = (math.sqrt(samples) * basis).to(groups)
    return scaled.reshape(channels, places, samples, count).permute(2, 0, 3, 1)


def probe_noise(
    shape: Sequence[int],
    samples: int,
    seed: int,
    step: int,
    call: int,
    images: Sequence[int],
    *,
    orthogonally: bool = False,
    part: int = 0,
) -> Tensor:
    """Standard normal probe noise, shape (M, B, C, *spatial), float32 on the CPU.

    The probes of an image do not depend on the batch. Independent probes with a larger M start with those of a smaller M.

    Args:
        shape: shape of one image, (C, *spatial).
        samples: M, probes per image.
        seed: the node's seed, 0 to 2⁶⁴ - 1.
        step: number of the sampling step.
        call: number of the model call within the step.
        images: index of each image in its batch.
        orthogonally: make the probes ``orthogonal`` instead of independent.
        part: of which part of packed latents; each has a stream of its own, the first that of plain latents.
    """
    streams = []
    for image in images:
        entropy = [_DOMAIN, seed, step, call, image, *([part] if part else [])]
        state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(state))
        noise = torch.stack([torch.randn(tuple(shape), generator=generator) for _ in range(samples)])
        streams.append(orthogonal(noise) if orthogonally else noise)
    return torch.stack(streams, dim=1)


def packed_noise(
    parts: Parts, samples: int, seed: int, step: int, call: int, images: Sequence[int], *, orthogonally: bool = False
) -> Tensor:
    """The ``probe_noise`` of all parts, packed as they are."""
    return parts.join(
        [
            probe_noise(shape, samples, seed, step, call, images, orthogonally=orthogonally, part=part)
            for part, shape in enumerate(parts.shapes)
        ]
    )


def score_probes(score: Denoiser, perturbed: Tensor, sigma: Tensor, probes_per_call: int | None = None) -> Tensor:
    """Noise predictions of all probes, at least float32, shape (M, B, C, *spatial).

    Probes are stacked along the batch with the probe as the outer index, so that repeated conditioning matches its image.

    Args:
        score: noise prediction.
        perturbed: probes (M, B, C, *spatial).
        sigma: noise levels (B,).
        probes_per_call: number of probes per call of the network; None for all.
    """
    (scores,) = _in_calls(lambda z, levels: (score(z, levels),), perturbed, sigma, probes_per_call)
    return scores


def score_probes_both(
    both: BothScores, perturbed: Tensor, sigma: Tensor, probes_per_call: int | None = None
) -> tuple[Tensor, Tensor]:
    """Noise predictions of all probes and those under the prompt alone, both like the result of ``score_probes``."""
    scores, conditional = _in_calls(both, perturbed, sigma, probes_per_call)
    return scores, conditional


def _in_calls(
    predict: Callable[[Tensor, Tensor], tuple[Tensor, ...]], perturbed: Tensor, sigma: Tensor, probes_per_call: int | None
) -> list[Tensor]:
    results = []
    for chunk in torch.split(perturbed, probes_per_call or len(perturbed)):
        predicted = predict(chunk.flatten(0, 1), sigma.repeat(len(chunk)))
        results.append([each.to(torch.promote_types(each.dtype, torch.float32)).reshape(chunk.shape) for each in predicted])
    return [torch.cat(parts) for parts in zip(*results, strict=True)]
