"""The results of a run in this process as files: pictures with their scores in them, and the map."""

import json
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from uncertainty.maps import UncertaintyMap
from uncertainty.storage import picture_entry
from uncertainty.storage.records import records_of
from uncertainty.storage.tensor_files import map_content

from ..drawn_files import Drawn
from ..plan import Job
from ..rows import File, Row
from ..run_folder import image_of, map_of
from ..workflow import MAP


def encoded(job: Job, results: Sequence[tuple[Tensor, UncertaintyMap]], seconds: float) -> Drawn:
    """The files of a job and their rows.

    Args:
        job: the job.
        results: images (B, H, W, 3), 0 to 1, and their map; several pairs where the workflow passes latents on as a list.
        seconds: how long the run took.
    """
    workflow, contents = json.dumps(job.graph), dict[str, bytes]()
    kept_map = None
    if MAP in job.graph:
        kept_map = _added(contents, map_of(job.number), map_content(results[0][1]))
    rows: list[Row] = []
    for images, measured in results:
        # The parts of a list are sampled one by one, each from place 0.
        placed = replace(measured, places=tuple(range(len(rows), len(rows) + len(images))))
        for index, (record, image) in enumerate(zip(records_of(placed), images, strict=True)):
            texts = {picture_entry.ENTRY: picture_entry.entry(placed, index), "prompt": workflow}
            file = _added(contents, image_of(job.number, record.place), picture_entry.png(image, texts))
            drawn = replace(record, number=job.number, prompt=job.prompt, seed=job.seed, file=file.name)
            rows.append(Row(drawn, file, kept_map, seconds))
    return Drawn(rows, contents)


def _added(contents: dict[str, bytes], name: str, content: bytes) -> File:
    contents[name] = content
    return File.of(name, content)
