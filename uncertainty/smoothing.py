"""Smooth a noisy map along the structure of its image, by no more than its noise warrants.

Elements whose surroundings look alike in the denoised image are about equally uncertain, and the denoised image has no
Monte-Carlo noise. So each element becomes a weighted mean over its neighbourhood, with weights given by the similarity of the
surroundings: non-local means (Buades, Coll & Morel 2005) with weights from another picture (Petschnigg et al. 2004). There are
two passes: the first smooths the denoised variance, the least noisy quantity; its result and the denoised image guide the second.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

# Kernel widths, chosen with benchmarks/estimator.py: for the image in its standard deviations, for the map in its logarithm.
PILOT_WIDTH = 0.4
IMAGE_WIDTH = 0.75
MAP_WIDTH = 0.8
LARGEST_RADIUS = 5


def radius_for(height: int, width: int) -> int:
    """Neighbourhood radius for a latent: a twelfth of its longer side, from 1 to 5."""
    return max(1, min(LARGEST_RADIUS, max(height, width) // 12))


def as_images(tensor: Tensor) -> Tensor:
    """(B, C, *spatial) as images (N, C, h, w): each frame of a video is an image, audio is an image of one row."""
    if tensor.ndim == 3:
        return tensor[:, :, None]
    return tensor.transpose(1, 2).flatten(0, 1) if tensor.ndim == 5 else tensor


def _like(images: Tensor, tensor: Tensor) -> Tensor:
    """Undo ``as_images`` for the shape of ``tensor``."""
    if tensor.ndim == 3:
        return images[:, :, 0]
    return images.reshape(len(tensor), -1, *images.shape[1:]).transpose(1, 2) if tensor.ndim == 5 else images


def _shifted(images: Tensor, down: int, right: int) -> tuple[Tensor, Tensor]:
    """Views of all pairs of elements with this offset; ``down`` must not be negative."""
    height, width = images.shape[-2:]
    left = max(0, -right)
    here = images[..., : height - down, left : width - max(0, right)]
    there = images[..., down:, max(0, right) : width - left]
    return here, there


def nonlocal_means(values: Tensor, guide: Tensor, radius: int, patch: int = 1, weights: Tensor | None = None) -> Tensor:
    """Weighted means of ``values`` (N, K, h, w), with weights ``exp(-|difference of the guide's patches|²)``.

    Args:
        values: values to smooth.
        guide: (N, G, h, w), in units of the kernel widths; squared differences are summed over G and averaged over the patch.
        radius: radius of the square neighbourhood, in elements.
        patch: radius of the compared patches.
        weights: (N, 1, h, w), weight of each element. The result is 0 where all weights in the neighbourhood are 0.
    """
    own = torch.ones_like(values[:, :1]) if weights is None else weights.to(values)
    given = torch.cat([values * own, own], 1)  # the sums of values and of weights grow together
    total = given.clone()
    height, width = values.shape[-2:]
    # Each pair is visited once, because its weight is symmetric.
    for down in range(min(radius, height - 1) + 1):
        for right in range(-min(radius, width - 1), min(radius, width - 1) + 1):
            if down == 0 and right <= 0:
                continue
            one, other = _shifted(guide, down, right)
            distance = (one - other).square_().sum(1, keepdim=True)
            alike = avg_pool2d(distance, 2 * patch + 1, 1, patch, count_include_pad=False).neg_().exp_()
            here, there = _shifted(total, down, right)
            from_here, from_there = _shifted(given, down, right)
            here.addcmul_(alike, from_there)
            there.addcmul_(alike, from_here)
    weight = total[:, -1:]
    return total[:, :-1] / weight.clamp(min=torch.finfo(weight.dtype).tiny)


def along_image(maps: dict[str, Tensor], denoised: Tensor, pilot: str, mask: Tensor | None = None) -> dict[str, Tensor]:
    """Smooth maps along the structure of their image, each image separately.

    Args:
        maps: quantities by name, each (B, C, *spatial).
        denoised: x̂0, same shape.
        pilot: name of the map that guides the second pass; it must be positive.
        mask: weights (B, 1, *spatial); elements with weight 0 do not influence others.
    """
    centred = denoised - _mean(denoised, mask)
    spread = _mean(centred.square(), mask).sqrt().clamp(min=torch.finfo(denoised.dtype).tiny)
    inside = None if mask is None else as_images(mask)
    image = as_images(centred / spread) / denoised.shape[1] ** 0.5
    radius = radius_for(*image.shape[-2:])
    first = as_images(maps[pilot].mean(1, keepdim=True))
    guided = nonlocal_means(first, image / PILOT_WIDTH, radius, patch=0, weights=inside)
    level = guided.clamp(min=torch.finfo(guided.dtype).tiny).log()
    guide = torch.cat([image / IMAGE_WIDTH, level / MAP_WIDTH], 1)
    smooth = nonlocal_means(torch.cat([as_images(value) for value in maps.values()], 1), guide, radius, weights=inside)
    channels = denoised.shape[1]
    return {name: _like(part, denoised) for name, part in zip(maps, torch.split(smooth, channels, 1), strict=True)}


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Weighted mean of each image (B, C, *spatial), broadcastable; 0 for an image whose weights are all 0."""
    axes = list(range(1, values.ndim))
    if mask is None:
        return values.mean(axes, keepdim=True)
    weights = mask.to(values).expand_as(values)
    return (weights * values).sum(axes, keepdim=True) / weights.sum(axes, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)


def shrink(noisy: Tensor, smooth: Tensor, noise: Tensor, mask: Tensor | None = None) -> Tensor:
    """Moves ``smooth`` back towards ``noisy`` as far as their difference exceeds the noise (positive-part James-Stein).

    With N the mean variance of ``noisy`` and E the mean of (noisy - smooth)², both over the elements of an image:

        smooth + max(0, 1 - N/E)·(noisy - smooth)

    where ``smooth`` is first shifted to the mean of ``noisy``. If smoothing has an rms bias B, N·B/(N + B²) of it remains: at
    most half a standard error of an element (0.6 if N is estimated from few samples), and nothing as the number of samples grows.

    Args:
        noisy: unbiased map, (B, C, *spatial).
        smooth: the smoothed map, same shape.
        noise: variance of ``noisy``, same shape.
        mask: weights (B, 1, *spatial) of all means; None for equal weights.
    """
    difference = noisy - smooth
    difference = difference - _mean(difference, mask)
    excess = 1 - _mean(noise, mask) / _mean(difference.square(), mask).clamp(min=1e-30)
    return noisy - (1 - excess.clamp(min=0)) * difference
