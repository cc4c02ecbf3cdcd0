"""Jobs drawn by the ComfyUI of this process, straight into files: no copies of its own, no ledger that workers would share."""

import copy
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from uncertainty.storage import png_entry
from uncertainty.storage.records import records_of
from uncertainty.storage.tensor_files import save_map
from uncertainty_runs.plan import Job
from uncertainty_runs.rows import File, Row
from uncertainty_runs.run_folder import image_of, keep, map_of
from uncertainty_runs.workflow import MAP, SAVE, Graph

from ..comfyui import Comfy, ComfyError, OutOfMemory

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

    def draw(self, job: Job, folder: Path) -> list[Row]:
        """Draw one job: its files are whole when its rows come back.

        Raises:
            ComfyError: ComfyUI refused it, or a node failed.
            OSError: a file cannot be written.
        """
        graph = copy.deepcopy(job.graph)
        graph.pop(MAP, None)
        ends = graph.pop(SAVE)["inputs"]
        graph[CATCH] = {"class_type": CATCH, "inputs": {"images": ends["images"], "uncertainty": ends["uncertainty"]}}
        began = time.monotonic()
        self._run(graph)
        images, found = Catch.take()
        seconds = time.monotonic() - began
        kept_map = None
        if MAP in job.graph:
            name = map_of(job.number)
            save_map(folder / name, found)
            kept_map = File.of(name, (folder / name).read_bytes())
        workflow = json.dumps(job.graph)
        rows = []
        for record, image in zip(records_of(found), images, strict=True):
            about = {png_entry.ENTRY: png_entry.entry(found, record.place), "prompt": workflow}
            file = keep(folder, image_of(job.number, record.place), png_entry.png(image, about))
            drawn = replace(record, number=job.number, prompt=job.prompt, seed=job.seed, file=file.name)
            rows.append(Row(drawn, file, kept_map, seconds))
        return rows

    def _run(self, graph: Graph) -> None:
        """Run a graph, a second time where memory ran out: what filled it may be gone then.

        Raises:
            ComfyError: it fails.
        """
        try:
            self.comfy.run(graph)
        except OutOfMemory:
            try:
                self.comfy.run(graph)
            except OutOfMemory as error:
                raise OutOfMemory(f"{error} Give a smaller --batch, and another folder.") from error

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture into ComfyUI's input folder; answers with what LoadImage calls it."""
        import folder_paths

        keep(Path(folder_paths.get_input_directory()), f"{subfolder}/{name}", content)
        return f"{subfolder}/{name}"

    def close(self) -> None:
        """Delete ComfyUI's temporary files."""
        self.comfy.temporary.cleanup()


class Catch:
    """Output node that hands images and map to this process. Unknown to browsers: only this process has it."""

    caught: tuple[Tensor, Any] | None = None
    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "uncertainty", "catch", (), True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  # ComfyUI's name
        """As ComfyUI asks for them."""
        return {"required": {"images": ("IMAGE",), "uncertainty": ("UNCERTAINTY",)}}

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> float:  # noqa: N802  # ComfyUI's name
        """Always: a job that is drawn again must come out again."""
        return float("nan")

    def catch(self, images: Tensor, uncertainty: Any) -> dict[str, Any]:
        """Keep them until they are taken.

        Raises:
            ValueError: they do not belong together.
        """
        if len(images) != uncertainty.images:
            raise ValueError(f"{len(images)} images came of {uncertainty.images} latents: batches are of still images.")
        type(self).caught = (images, uncertainty)
        return {}

    @classmethod
    def take(cls) -> tuple[Tensor, Any]:
        """What was caught last.

        Raises:
            ComfyError: nothing was.
        """
        caught, cls.caught = cls.caught, None
        if caught is None:
            raise ComfyError("the workflow ran, and nothing came of it: another node blocks its images.")
        return caught
