"""Compares uncertainty and error of the same pictures, element by element."""

import torch
from torch import Tensor

from ..images.heatmaps import resize
from ..maps import UncertaintyMap
from .sparsification import Sparsification, sparsification


def at_size(values: Tensor, shape: torch.Size) -> Tensor:
    """A map (C, h, w) at the shape of a picture (3, H, W): unchanged for pixel-space models, else the channel mean, resized."""
    if values.shape == shape:
        return values
    return resize(values.mean(0)[None], shape[1], shape[2])[0].expand(shape)


def of_images(ground_truth: Tensor, prediction: Tensor, measured: UncertaintyMap, quantity: str) -> list[Sparsification]:
    """Sparsification of each image of a map by a quantity, summed over the recorded steps.

    Args:
        ground_truth: pictures (B, H, W, 3), 0 to 1; a single picture is used for all images.
        prediction: the sampled images, (B, H, W, 3), 0 to 1.
        measured: the map of these B images.
        quantity: which uncertainty. The highest values are removed first, even for ``score_variance``, which is high where the
            model is sure.

    Raises:
        ValueError: numbers or sizes differ, or the map is of videos or sound.
    """
    if len(measured.shape) != 5:
        raise ValueError("sparsification needs maps of still images, but this map is of videos or sound.")
    truth = ground_truth.expand(len(prediction), *ground_truth.shape[1:]) if len(ground_truth) == 1 else ground_truth
    if truth.shape != prediction.shape or len(prediction) != measured.images:
        raise ValueError(
            f"ground_truth {tuple(ground_truth.shape)} and images {tuple(prediction.shape)} must have the same size, and as many "
            f"images as the map ({measured.images}): connect the images of this map."
        )
    maps = measured.summed(quantity)
    results = []
    for real, made, values in zip(truth, prediction, maps, strict=True):
        right, wrong = (picture.permute(2, 0, 1) for picture in (real, made))
        results.append(sparsification(right.numpy(), wrong.numpy(), at_size(values, right.shape).numpy()))
    return results
