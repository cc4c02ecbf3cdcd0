"""Room for maps in main memory, as far as options allow, and in ComfyUI's temporary folder beyond."""

from collections.abc import Callable
from pathlib import Path

import folder_paths

from ...uncertainty.options import Options
from ...uncertainty.room import Room
from .probe_options import KEY


def room_for(options: Options, taken: int = 0, give_way: Callable[[float], int] = lambda missing: 0) -> Room:
    """Room for the maps of a sampling.

    Args:
        options: how much main memory maps may take.
        taken: bytes of it that other maps take.
        give_way: frees main memory, as for ``Room``.
    """
    return Room(options.memory - taken, Path(folder_paths.get_temp_directory()) / KEY, give_way)
