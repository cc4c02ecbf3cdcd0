"""Jobs run by the ComfyUI of this process. Results go straight to the batch's folder, not through ComfyUI's output folder."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from uncertainty.maps import UncertaintyMap
from uncertainty.storage import picture_entry
from uncertainty.storage.records import records_of
from uncertainty.storage.tensor_files import save_map

from ..comfyui import Comfy, ComfyError, OutOfMemory
from ..graph import Graph
from ..node_info import NodeInfo
from ..plan import Job
from ..rows import File, Row
from ..run_folder import image_of, keep, map_of
from ..workflow import MAP, SAVE, several_maps

CATCH = "uncertainty batch catch"


class Renderer:
    """One ComfyUI in this process, which keeps its models from job to job.

    Args:
        path: the folder that holds ComfyUI's ``main.py``.
        options: what ComfyUI is started with.

    Raises:
        ComfyError: it does not start.
    """

    def __init__(self, path: Path, options: Sequence[str] = ()) -> None:
        self.comfy = Comfy(path, options)
        self.comfy.classes[CATCH] = Catch

    def describe(self, class_type: str) -> NodeInfo:
        """What ComfyUI says of a node class; raises NodeError if it has none of that name."""
        return self.comfy.describe(class_type)

    def draw(self, job: Job, folder: Path) -> list[Row]:
        """Run one job. Its files are complete when the rows are returned.

        Raises:
            ComfyError: ComfyUI rejected the graph, or a node failed.
            RuntimeError: there are more or fewer images than planned.
            OSError: a file cannot be written.
        """
        began = time.monotonic()
        results = self._results(job.graph)
        seconds = time.monotonic() - began
        job.check(sum(len(images) for images, _ in results))
        kept_map = None
        if MAP in job.graph:
            if len(results) > 1:
                raise ComfyError(several_maps(len(results)))
            name = map_of(job.number)
            save_map(folder / name, results[0][1])
            kept_map = File.of(name, (folder / name).read_bytes())
        workflow = json.dumps(job.graph)
        rows: list[Row] = []
        for images, measured in results:
            # The parts of a list are sampled one by one, each from place 0.
            placed = replace(measured, places=tuple(range(len(rows), len(rows) + len(images))))
            for index, (record, image) in enumerate(zip(records_of(placed), images, strict=True)):
                texts = {picture_entry.ENTRY: picture_entry.entry(placed, index), "prompt": workflow}
                file = keep(folder, image_of(job.number, record.place), picture_entry.png(image, texts))
                drawn = replace(record, number=job.number, prompt=job.prompt, seed=job.seed, file=file.name)
                rows.append(Row(drawn, file, kept_map, seconds))
        return rows

    def _results(self, graph: Graph) -> list[tuple[Tensor, UncertaintyMap]]:
        """Run a graph with its saving nodes replaced by one that hands images (B, H, W, 3) and map to this process.

        There is one pair, or several where the workflow passes its latents on as a list.
        """
        saved = graph[SAVE]["inputs"]
        inputs = {name: saved[name] for name in ("images", "uncertainty")}
        changed = {number: node for number, node in graph.items() if number not in (SAVE, MAP)}
        changed[CATCH] = {"class_type": CATCH, "inputs": inputs}
        try:
            return self._caught(changed)
        except OutOfMemory:  # what filled the memory may have been freed
            try:
                return self._caught(changed)
            except OutOfMemory as error:
                raise OutOfMemory(f"{error} Give a smaller --batch, and another folder.") from error

    def _caught(self, graph: Graph) -> list[tuple[Tensor, UncertaintyMap]]:
        Catch.caught = []
        self.comfy.run(graph)
        caught, Catch.caught = Catch.caught, []
        if not caught:
            raise ComfyError("the workflow ran but gave no images: another node blocks them.")
        return caught

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture into ComfyUI's input folder; returns the name that LoadImage knows it by."""
        import folder_paths

        keep(Path(folder_paths.get_input_directory()), f"{subfolder}/{name}", content)
        return f"{subfolder}/{name}"

    def close(self) -> None:
        """Delete ComfyUI's temporary files."""
        self.comfy.temporary.remove()


class Catch:
    """Output node that keeps what it is given, at every call of a run. Only this process has it, browsers do not know it."""

    caught: ClassVar[list[tuple[Tensor, UncertaintyMap]]] = []
    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "uncertainty", "catch", (), True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  # ComfyUI's name
        """The inputs, in ComfyUI's form."""
        return {"required": {"images": ("IMAGE",), "uncertainty": ("UNCERTAINTY",)}}

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> float:  # noqa: N802  # ComfyUI's name
        """Always changed: a job that is run again must give its results again."""
        return float("nan")

    def catch(self, images: Tensor, uncertainty: UncertaintyMap) -> dict[str, Any]:
        """Keep images and map.

        Raises:
            ValueError: their numbers differ.
        """
        if len(images) != uncertainty.images:
            raise ValueError(
                f"the workflow made {len(images)} images of {uncertainty.images} latents: only still images can be batched."
            )
        self.caught.append((images, uncertainty))
        return {}
