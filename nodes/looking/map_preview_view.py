"""Files for the view inside UncertaintyMapPreview: an index, and the maps and pictures of each image."""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from ...uncertainty.images import heatmaps
from ...uncertainty.maps import UncertaintyMap
from .. import view_files

# Longer side in pixels of the pictures that ComfyUI lists as results, and of those in the strip of a batch.
LISTED, SMALL = 1024, 96


def write(uncertainty: UncertaintyMap, images: Tensor | None, overlay: Tensor, ran: Mapping[str, Any]) -> dict[str, Any]:
    """Write the files that the browser draws from and return what it is told: the index, which lists the files to load on demand.

    For Q quantities, S steps and B images, the index contains:

    - ``scores``, ``standard_errors`` and ``spreads`` (standard deviation over the elements inside the mask), (Q, S, B);
    - ``ranges``, (Q, S + 1, B + 1, 2), the ends of the colour scale; the last step is the sum, the last image is the batch;
    - ``scores_of_run`` and ``standard_errors_of_run``, (R, B), and ``ranges_of_run``, (R, B + 1, 2), of the R maps that belong to
      the whole run;
    - ``steps`` and ``sigmas``, (S,);
    - the colour tables.

    Each image has a file with its maps by quantity, (S, frames, h, w) or, of the whole run, (1, frames, h, w), one with its
    picture, and in a batch a small one. Each video has a picture per latent frame, the nearest decoded one, and a clip.

    Args:
        uncertainty: maps of B images.
        images: their decoded pictures, (B·F, height, width, 3), or None; F is 1 or, of videos, the number of frames.
        overlay: the same with the map over them, or the map alone; ComfyUI lists the first frame of each as a result.
        ran: the values that the node's inputs had; the view shows them where they came by links.
    """
    stem = view_files.new_stem("map")
    maps = {name: _pictures(values, uncertainty.images) for name, values in uncertainty.quantities.items()}
    of_run = {name: _pictures(values[None], uncertainty.images) for name, values in uncertainty.of_run.items()}
    frames = _frames(uncertainty)
    pictures, thumbnails, clips = [], [], []
    if images is not None:
        each = len(images) // uncertainty.images
        videos = images.unflatten(0, (uncertainty.images, each))
        thumbnails = _write_colours(f"{stem}_small", images[::each], SMALL) if uncertainty.images > 1 else []
        nearest = [round(frame * (each - 1) / max(1, frames - 1)) for frame in range(frames)]
        pictures = _write_frames(stem, videos[:, nearest])
        clips = view_files.write_clips(stem, videos)
    about = {
        "quantities": list(maps),
        "of_run": list(of_run),
        "total_steps": uncertainty.total_steps,
        "summed": len(uncertainty.settings.get("summed_steps") or ()),
        "window": uncertainty.settings.get("window"),
        "guided": bool(uncertainty.settings.get("strength")),
        "frames": frames,
        "maps": _write_maps(stem, maps | of_run, frames),
        "pictures": pictures,
        "thumbnails": thumbnails,
        "clips": clips,
        "ran": dict(ran),
    }
    index = view_files.write_tensors(stem, _index(uncertainty, maps) | _index_of_run(uncertainty, of_run), about)
    listed = _write_colours(f"{stem}_over", overlay[:: len(overlay) // uncertainty.images], LISTED)
    view_files.forget_old_runs()
    return view_files.results(index, listed)


def joined(pictures: Tensor, images: int) -> Tensor:
    """All frames of a video as one picture, (images, frames·h, w)."""
    return pictures.reshape(images, math.prod(pictures.shape[:2]) // images, pictures.shape[2])


def _pictures(values: Tensor, images: int) -> Tensor:
    """One quantity as pictures, (S, images, frames·h, w)."""
    return torch.stack([joined(heatmaps.as_pictures(step), images) for step in values])


def _frames(uncertainty: UncertaintyMap) -> int:
    """Number of latent frames of a video; 1 for images."""
    first = uncertainty.summed(uncertainty.default)
    return len(heatmaps.as_pictures(first)) // uncertainty.images


def _index(uncertainty: UncertaintyMap, maps: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the index, without those of the whole run."""
    colours = {f"colormap.{name}": (heatmaps.colormap(name) * 255).round().byte() for name in heatmaps.COLORMAPS}
    if not maps:
        return {"steps": torch.empty(0, dtype=torch.int32), "sigmas": torch.empty(0), **colours}
    scores = [[uncertainty.score(name, [step]) for step in uncertainty.steps] for name in maps]
    return {
        "scores": torch.stack([torch.stack([score.value for score in row]) for row in scores]),
        "standard_errors": torch.stack([torch.stack([score.standard_error for score in row]) for row in scores]),
        "spreads": torch.stack([_spread(steps, uncertainty.mask) for steps in maps.values()]),
        "ranges": torch.stack([_ranges(steps) for steps in maps.values()]),
        "steps": torch.tensor(uncertainty.steps, dtype=torch.int32),
        "sigmas": uncertainty.sigmas.float(),
        **colours,
    }


def _index_of_run(uncertainty: UncertaintyMap, maps: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the index for maps of the whole run, each (1, B, h, w)."""
    if not maps:
        return {}
    scores = [uncertainty.score(name) for name in maps]
    return {
        "scores_of_run": torch.stack([score.value for score in scores]),
        "standard_errors_of_run": torch.stack([score.standard_error for score in scores]),
        "ranges_of_run": torch.stack([_ranges(values)[-1] for values in maps.values()]),
    }


def _ranges(steps: Tensor) -> Tensor:
    """Ends of the colour scale of maps (S, B, h, w) and their sum, for each image and, last, the batch: (S + 1, B + 1, 2)."""
    shown = torch.cat([steps, steps.sum(0, keepdim=True)])
    rows = []
    for picture in shown:
        of_images = torch.stack(heatmaps.value_range(picture, "image"), -1)
        of_batch = torch.stack(heatmaps.value_range(picture, "batch"), -1)[:1]
        rows.append(torch.cat([of_images, of_batch]))
    return torch.stack(rows)


def _write_maps(stem: str, maps: dict[str, Tensor], frames: int) -> list[dict[str, str]]:
    """A file for each image."""
    count = next(iter(maps.values())).shape[1]
    return [
        view_files.write_tensors(
            f"{stem}_{index}", {name: steps[:, index].unflatten(1, (frames, -1)) for name, steps in maps.items()}, {}
        )
        for index in range(count)
    ]


def _spread(steps: Tensor, mask: Tensor | None) -> Tensor:
    """Standard deviation of maps (S, B, h, w) over the elements inside the mask, (S, B)."""
    if mask is None:
        return steps.flatten(2).std(2, correction=0)
    weights = joined(heatmaps.as_pictures(mask), len(mask)).flatten(1)
    weights = weights / weights.sum(1, keepdim=True)
    values = steps.flatten(2)
    mean = (values * weights).sum(2, keepdim=True)
    return ((values - mean).square() * weights).sum(2).sqrt()


def _write_colours(stem: str, pictures: Tensor, longest: int) -> list[dict[str, str]]:
    """A file for each of pictures (B, height, width, 3), at most ``longest`` pixels long."""
    return [file for (file,) in view_files.write_pictures(stem, pictures, [longest])]


def _write_frames(stem: str, images: Tensor) -> list[list[dict[str, str]]]:
    """A file for each frame of images (B, frames, height, width, 3)."""
    names = [(index, frame) for index in range(images.shape[0]) for frame in range(images.shape[1])]
    with ThreadPoolExecutor() as pool:
        files = list(pool.map(lambda name: view_files.write_colours(f"{stem}_{name[0]}_{name[1]}", images[name]), names))
    return [files[start : start + images.shape[1]] for start in range(0, len(files), images.shape[1])]
