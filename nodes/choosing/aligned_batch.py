"""Images, latents, masks and maps of one batch, kept aligned while it is split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from comfy_execution.graph import ExecutionBlocker
from torch import Tensor

from ...uncertainty.maps import UncertaintyMap
from .. import node_inputs, packed_latents

# Silently blocks the nodes connected to this output, and no others.
NOTHING = ExecutionBlocker(None)


@dataclass(frozen=True)
class AlignedBatch:
    """What is connected of a batch.

    Attributes:
        uncertainty: maps of B images.
        images: all decoded frames, (B·frames, height, width, 3), or None.
        latents: ComfyUI's latents, or None.
        masks: (B·mask_frames, height, width), or None.
        frames: pictures per image.
        mask_frames: masks per image.
    """

    uncertainty: UncertaintyMap
    images: Tensor | None
    latents: dict | None
    masks: Tensor | None
    frames: int
    mask_frames: int

    @classmethod
    def of(cls, uncertainty: UncertaintyMap, images: Tensor | None, latents: dict | None, masks: Tensor | None) -> "AlignedBatch":
        """Check that all have the same number of images as the map.

        Raises:
            ValueError: a number differs from the map's.
        """
        if latents is not None and packed_latents.count(latents["samples"]) != uncertainty.images:
            count = node_inputs.entries(packed_latents.count(latents["samples"]))
            raise ValueError(f"latents has {count}, but the map has {uncertainty.images}: connect the latents of this map.")
        frames = 1 if images is None else node_inputs.pictures_each("images", len(images), uncertainty)
        # There may be one mask per video, as the sampler takes them, or one per frame.
        mask_frames = 1
        if masks is not None and len(masks) != uncertainty.images:
            mask_frames = node_inputs.pictures_each("masks", len(masks), uncertainty)
        return cls(uncertainty, images, latents, masks, frames, mask_frames)

    def rated(self, stars: Mapping[int, int]) -> "AlignedBatch":
        """The batch with the stars that were given to some images, by index."""
        given = [stars.get(index, before) for index, before in enumerate(self.uncertainty.stars)]
        return replace(self, uncertainty=replace(self.uncertainty, stars=tuple(given)))

    def branch(self, chosen: Sequence[int], *, sorted_out: bool) -> tuple[Any, Any, Any, Any]:
        """Images, latents, masks and map of the chosen images. What is empty or not connected blocks its output.

        The map says whether the images were sorted out, so that the ledger knows it when they are saved.
        """
        if not chosen:
            return NOTHING, NOTHING, NOTHING, NOTHING
        images = NOTHING if self.images is None else _rows(self.images, chosen, self.frames)
        latents = NOTHING if self.latents is None else _latents(self.latents, chosen)
        masks = NOTHING if self.masks is None else _rows(self.masks, chosen, self.mask_frames)
        return images, latents, masks, _sorted(self.uncertainty.select(chosen), sorted_out)


def _sorted(maps: UncertaintyMap, sorted_out: bool) -> UncertaintyMap:
    """The map, and those of its other parts, which say whether their images were sorted out."""
    others = tuple(_sorted(other, sorted_out) for other in maps.other_parts)
    return replace(maps, settings={**maps.settings, "sorted_out": sorted_out}, other_parts=others)


def _rows(tensor: Tensor, chosen: Sequence[int], each: int = 1) -> Tensor:
    """The rows of the chosen images, ``each`` rows per image, such as all frames of a video."""
    return tensor[torch.as_tensor([image * each + frame for image in chosen for frame in range(each)])]


def _latents(latents: dict, chosen: Sequence[int]) -> dict:
    count = packed_latents.count(latents["samples"])
    branch = latents | {"samples": packed_latents.select(latents["samples"], chosen, count)}
    mask = latents.get("noise_mask")
    if mask is not None:
        branch["noise_mask"] = packed_latents.select(mask, chosen, count)
    # So that each image keeps its noise and probes when the latent is sampled again.
    indices = latents.get("batch_index") or list(range(count))
    branch["batch_index"] = [indices[i] for i in chosen]
    return branch
