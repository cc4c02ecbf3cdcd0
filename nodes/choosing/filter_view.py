"""Files for the view inside UncertaintyScoreFilter."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch import Tensor

from ...uncertainty.images import heatmaps
from ...uncertainty.maps import UncertaintyMap
from .. import view_files

# Longer side in pixels of the enlarged picture and of the pictures in the list.
LARGE, SMALL = 1024, 192


def map_pictures(uncertainty: UncertaintyMap, quantity: str, steps: Sequence[int]) -> Tensor:
    """Pictures to show if no images are connected: the maps in one colour scale; for videos, the first frame."""
    maps = heatmaps.as_pictures(uncertainty.summed(quantity, steps))
    first = maps[:: len(maps) // uncertainty.images]
    return heatmaps.colorize(heatmaps.normalize(first, "batch"), heatmaps.COLORMAPS[0])


def write(shown: Mapping[str, Any], pictures: Tensor) -> dict[str, str]:
    """Write the data to show, JSON-serialisable and without NaN, and the pictures (B, h, w, 3); return the data file."""
    stem = view_files.new_stem("filter")

    def of_image(index: int) -> dict[str, dict[str, str]]:
        large, small = view_files.write_sizes(f"{stem}_{index}", pictures[index], (LARGE, SMALL))
        return {"large": large, "small": small}

    with ThreadPoolExecutor() as pool:
        files = list(pool.map(of_image, range(len(pictures))))
    height, width = pictures.shape[1:3]
    data = view_files.write_json(stem, {**shown, "pictures": files, "ratio": width / height})
    view_files.forget_old_runs()
    return data
