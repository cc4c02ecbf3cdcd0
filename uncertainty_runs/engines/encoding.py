"""The results of a run in this process as files: pictures with their scores in them, and the map."""

import json
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from uncertainty.maps import UncertaintyMap
from uncertainty.storage import picture_entry
from uncertainty.storage.records import ImageRecord, records_of
from uncertainty.storage.tensor_files import map_content

from ..drawn_files import Drawn
from ..plan import Job
from ..rows import File, Row
from ..run_folder import image_of, map_of
from ..workflow import MAP

Result = tuple[Tensor, UncertaintyMap | str]
"""Images (B, H, W, 3), 0 to 1, and their map, or why they have none."""


def encoded(job: Job, results: Sequence[Result], seconds: float) -> Drawn:
    """The files of a job and their rows.

    Args:
        job: the job.
        results: one, or several where the workflow passes latents on as a list.
        seconds: how long the run took.
    """
    workflow, contents = json.dumps(job.graph), dict[str, bytes]()
    kept_map = None
    if MAP in job.graph and isinstance(results[0][1], UncertaintyMap):
        kept_map = _added(contents, map_of(job.number), map_content(results[0][1]))
    rows: list[Row] = []
    for images, measured in results:
        records, entries = _described(measured, range(len(rows), len(rows) + len(images)))
        for record, entry, image in zip(records, entries, images, strict=True):
            file = _added(contents, image_of(job.number, record.place), picture_entry.png(image, entry | {"prompt": workflow}))
            drawn = replace(record, number=job.number, prompt=job.prompt, seed=job.seed, file=file.name)
            rows.append(Row(drawn, file, kept_map, seconds, measured if isinstance(measured, str) else None))
    return Drawn(rows, contents)


def _described(measured: UncertaintyMap | str, places: Sequence[int]) -> tuple[list[ImageRecord], list[dict[str, str]]]:
    """The records of images at these places in their job, and what their files say of their scores: nothing without a map."""
    if isinstance(measured, str):
        return [ImageRecord({}, "", "", place) for place in places], [{} for _ in places]
    # The parts of a list are sampled one by one, each from place 0.
    placed = replace(measured, places=tuple(places))
    return records_of(placed), [{picture_entry.ENTRY: picture_entry.entry(placed, index)} for index in range(placed.images)]


def _added(contents: dict[str, bytes], name: str, content: bytes) -> File:
    contents[name] = content
    return File.of(name, content)
