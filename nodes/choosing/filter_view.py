"""Files of the view inside UncertaintyScoreFilter."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch import Tensor

from ...uncertainty.images import heatmaps
from ...uncertainty.maps import UncertaintyMap
from .. import view_files

# Longer sides in pixels: enlarged, and in the list of all images.
LARGE, SMALL = 1024, 192


def map_pictures(uncertainty: UncertaintyMap, quantity: str, steps: Sequence[int]) -> Tensor:
    """What stands for the images where none are connected: their maps in colours of one scale, of videos the first frame."""
    maps = heatmaps.as_pictures(uncertainty.quantity(quantity)[uncertainty.rows(steps)].sum(0))
    first = maps[:: len(maps) // uncertainty.images]
    return heatmaps.colorize(heatmaps.normalize(first, "batch"), heatmaps.COLORMAPS[0])


def write(shown: Mapping[str, Any], pictures: Tensor) -> dict[str, str]:
    """Write what is shown, JSON-able and without NaN, and a picture (B, h, w, 3) of each image; answers with the file."""
    stem = view_files.new_stem("filter")

    def of_image(index: int) -> dict[str, dict[str, str]]:
        large, small = view_files.write_sizes(f"{stem}_{index}", pictures[index], (LARGE, SMALL))
        return {"large": large, "small": small}

    with ThreadPoolExecutor() as pool:
        return view_files.write_json(stem, {**shown, "pictures": list(pool.map(of_image, range(len(pictures))))})
