"""UncertaintyMapPreview: look at a map, alone or over the images."""

import math
from concurrent.futures import ThreadPoolExecutor

import torch
from comfy_api.latest import io
from torch import Tensor

from ...uncertainty.estimators import QUANTITIES
from ...uncertainty.images import heatmaps
from ...uncertainty.maps import UncertaintyMap
from .. import node_inputs, view_files

# Latents are usually this much smaller than their images.
LATENT_SCALE = 8


class UncertaintyMapPreview(io.ComfyNode):
    """Shows the map in the node and hands it on as images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A map, images to lay it over, and how to colour it."""
        return io.Schema(
            node_id="UncertaintyMapPreview",
            display_name="Preview Uncertainty Map",
            category=node_inputs.CATEGORY,
            description="Shows where the model was unsure, as a heatmap or over the images.",
            is_output_node=True,
            inputs=[
                node_inputs.Uncertainty.Input("uncertainty", tooltip="From an uncertainty sampler."),
                io.Image.Input(
                    "images", optional=True, tooltip="The decoded images, or all frames of the decoded videos, for an overlay."
                ),
                node_inputs.quantity_input(),
                io.Int.Input("step", default=-1, min=-1, max=9999, tooltip="Which recorded step to show; -1 shows their sum."),
                io.Combo.Input("colormap", options=list(heatmaps.COLORMAPS), tooltip="Colours from low to high."),
                io.Float.Input(
                    "opacity", default=0.6, min=0.0, max=1.0, step=0.05, tooltip="How strongly the heatmap covers the image."
                ),
                io.Combo.Input(
                    "normalize",
                    options=list(heatmaps.NORMALIZATIONS),
                    tooltip=(
                        "image: full colour range in every image or video; batch: one range for all, images can be compared; "
                        "absolute: 0 to 1 in latent units, runs can be compared."
                    ),
                ),
            ],
            outputs=[io.Image.Output("heatmap", display_name="heatmap"), io.Image.Output("overlay", display_name="overlay")],
        )

    @classmethod
    def validate_inputs(
        cls, quantity: str | None = None, colormap: str | None = None, normalize: str | None = None
    ) -> bool | str:
        """Refuse what cannot work before anything runs."""
        return node_inputs.check_inputs(cls, quantity=quantity, colormap=colormap, normalize=normalize)

    @classmethod
    def execute(
        cls,
        uncertainty: UncertaintyMap,
        quantity: str,
        step: int,
        colormap: str,
        opacity: float,
        normalize: str,
        images: Tensor | None = None,
    ) -> io.NodeOutput:
        """Draw heatmap and overlay, and write what the view in the node needs to draw any other."""
        node_inputs.check_types(uncertainty=uncertainty)
        rows = uncertainty.rows(None if step < 0 else [step])
        pictures = heatmaps.as_pictures(uncertainty.quantity(quantity)[rows].sum(0))
        # A video is one picture to the colour scale: its colours must not flicker from frame to frame.
        low, high = heatmaps.value_range(_joined(pictures, uncertainty.images), normalize)
        frames = 1 if images is None else node_inputs.pictures_each("images", len(images), uncertainty)
        if images is None:
            height, width = (size * LATENT_SCALE for size in pictures.shape[1:])
            ends = (end.repeat_interleave(len(pictures) // uncertainty.images) for end in (low, high))
        else:
            height, width = images.shape[1:3]
            pictures = heatmaps.retime(pictures, uncertainty.images, frames)
            ends = (end.repeat_interleave(frames) for end in (low, high))
        heatmap = heatmaps.colorize(heatmaps.scaled(heatmaps.resize(pictures, height, width), *ends), colormap)
        overlay = heatmap if images is None else heatmaps.overlay(images.float().cpu(), heatmap, opacity)
        return io.NodeOutput(heatmap, overlay, ui={"uncertainty_view": [view(uncertainty, images, frames)]})


def view(uncertainty: UncertaintyMap, images: Tensor | None, each: int) -> dict[str, str]:
    """Write what the browser draws from. Answers with the index, which names the other files: it loads only what it shows.

    The index holds, for Q quantities, S steps (then their sum) and B images: ``scores``, ``standard_errors`` and ``spreads``
    (standard deviation over the elements of the shown map, inside the mask), (Q, S, B); ``ranges``, ends of the colour scale of
    each image and, last, of the batch, (Q, S + 1, B + 1, 2); ``steps``, ``sigmas``, (S,); the colour tables. A file an image
    holds its maps by quantity, (S, frames, h, w), another the grey of its picture, or a file each the pictures nearest to its
    latent frames.
    """
    count = uncertainty.images
    stem = view_files.new_stem("map")
    maps, ranges = [], []
    for name in QUANTITIES:
        values = uncertainty.quantity(name)
        steps = torch.stack([_joined(heatmaps.as_pictures(value), count) for value in values])
        shown = torch.cat([steps, steps.sum(0, keepdim=True)])
        ends = [torch.stack(heatmaps.value_range(picture, "image"), -1) for picture in shown]
        batch = [torch.stack(heatmaps.value_range(picture, "batch"), -1)[:1] for picture in shown]
        ranges.append(torch.stack([torch.cat(pair) for pair in zip(ends, batch, strict=True)]))
        maps.append(steps)
    frames = maps[0].shape[2] // heatmaps.as_pictures(uncertainty.values[0]).shape[1]
    files = [
        view_files.write_tensors(
            f"{stem}_{index}",
            {name: found[:, index].unflatten(1, (frames, -1)) for name, found in zip(QUANTITIES, maps, strict=True)},
            {},
        )
        for index in range(count)
    ]
    nearest = [round(frame * (each - 1) / max(1, frames - 1)) for frame in range(frames)]
    pictures = [] if images is None else _greys(stem, images.unflatten(0, (count, each))[:, nearest])
    scores = [[uncertainty.score(name, [step]) for step in uncertainty.steps] for name in QUANTITIES]
    settings = uncertainty.settings
    return view_files.write_tensors(
        stem,
        {
            "scores": torch.stack([torch.stack([score.value for score in row]) for row in scores]),
            "standard_errors": torch.stack([torch.stack([score.standard_error for score in row]) for row in scores]),
            "spreads": torch.stack([_spread(found, uncertainty.mask) for found in maps]),
            "ranges": torch.stack(ranges),
            "steps": torch.tensor(uncertainty.steps, dtype=torch.int32),
            "sigmas": uncertainty.sigmas.float(),
            **{f"colormap.{name}": (heatmaps.colormap(name) * 255).round().byte() for name in heatmaps.COLORMAPS},
        },
        {
            "quantities": list(QUANTITIES),
            "total_steps": uncertainty.total_steps,
            "window": settings.get("window"),
            "guided": bool(settings.get("strength")),
            "frames": frames,
            "maps": files,
            "pictures": pictures,
        },
    )


def _spread(steps: Tensor, mask: Tensor | None) -> Tensor:
    """Standard deviation of maps (S, B, h, w) over the elements that their scores are means of, (S, B)."""
    if mask is None:
        return steps.flatten(2).std(2, correction=0)
    weights = _joined(heatmaps.as_pictures(mask), len(mask)).flatten(1)
    weights = weights / weights.sum(1, keepdim=True)
    values = steps.flatten(2)
    mean = (values * weights).sum(2, keepdim=True)
    return ((values - mean).square() * weights).sum(2).sqrt()


def _greys(stem: str, images: Tensor) -> list[list[dict[str, str]]]:
    """A file for each frame of images (B, frames, height, width, 3)."""
    names = [(index, frame) for index in range(images.shape[0]) for frame in range(images.shape[1])]
    with ThreadPoolExecutor() as pool:
        files = list(pool.map(lambda name: view_files.write_grey(f"{stem}_{name[0]}_{name[1]}", images[name]), names))
    return [files[start : start + images.shape[1]] for start in range(0, len(files), images.shape[1])]


def _joined(pictures: Tensor, images: int) -> Tensor:
    """All frames of a video as one picture, (images, frames·h, w)."""
    return pictures.reshape(images, math.prod(pictures.shape[:2]) // images, pictures.shape[2])
