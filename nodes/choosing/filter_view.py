"""Files for the view inside UncertaintyScoreFilter."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from torch import Tensor

from ...uncertainty.images import heatmaps
from ...uncertainty.maps import UncertaintyMap
from .. import view_files

# Longer side in pixels of the large picture, so that it can be looked at 1:1, and of the pictures in the list.
LARGE, SMALL = 4096, 192


def map_pictures(uncertainty: UncertaintyMap, quantity: str, steps: Sequence[int]) -> Tensor:
    """Maps in one colour scale, (B, h, w, 3), to lay over the images or to show in their place; of videos, the first frame."""
    maps = heatmaps.as_pictures(uncertainty.summed(quantity, steps if quantity in uncertainty.quantities else None))
    first = maps[:: len(maps) // uncertainty.images]
    return heatmaps.colorize(heatmaps.normalize(first, "batch"), heatmaps.COLORMAPS[0])


def write(
    shown: Mapping[str, Any], pictures: Tensor, videos: Tensor | None, maps: Mapping[str, Tensor], listed: Sequence[int]
) -> dict[str, Any]:
    """Write the files of the view and return what the browser is told about them.

    Args:
        shown: the data to show, JSON-serialisable and without NaN.
        pictures: a picture of each image, (B, height, width, 3).
        videos: all frames of each, (B, frames, height, width, 3), if they were decoded.
        maps: by quantity, a map to lay over each picture, (B, h, w, 3).
        listed: the images that ComfyUI lists as results.
    """
    stem = view_files.new_stem("filter")

    def of_map(name: str, index: int) -> dict[str, str]:
        return view_files.write_colours(f"{stem}_{index}_{name}", maps[name][index])

    files = [{"large": large, "small": small} for large, small in view_files.write_pictures(stem, pictures, (LARGE, SMALL))]
    clips = [] if videos is None else view_files.write_clips(stem, videos)
    images = range(len(pictures))
    with ThreadPoolExecutor() as pool:
        overlays = [{"name": name, "files": list(pool.map(partial(of_map, name), images))} for name in maps]
    height, width = pictures.shape[1:3]
    data = view_files.write_json(stem, {**shown, "pictures": files, "clips": clips, "maps": overlays, "ratio": width / height})
    view_files.forget_old_runs()
    return view_files.results(data, [files[index]["large"] for index in listed])
