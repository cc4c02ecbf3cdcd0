"""Jobs run by the ComfyUI of this process. Results stay in memory until they are encoded, without ComfyUI's output folder."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from ..comfyui import Comfy, ComfyError, OutOfMemory, default_comfyui
from ..drawn_files import Drawn
from ..graph import Graph
from ..lost_maps import UNKNOWN, reasons
from ..node_info import NodeInfo
from ..plan import Job
from ..run_folder import keep
from ..workflow import MAP, SAVE, several_maps
from .encoding import Result, encoded

CATCH, CATCH_MAP = "uncertainty batch catch", "uncertainty batch catch map"


class Renderer:
    """One ComfyUI in this process, which keeps its models from job to job.

    Args:
        path: the folder that holds ComfyUI's ``main.py``; None for the default of this machine.
        options: what ComfyUI is started with.

    Raises:
        ComfyError: it does not start.
    """

    def __init__(self, path: Path | None = None, options: Sequence[str] = ()) -> None:
        self.comfy = Comfy((path or default_comfyui()).resolve(), options)
        self.comfy.classes |= {CATCH: CatchImages, CATCH_MAP: CatchMaps}

    def describe(self, class_type: str) -> NodeInfo:
        """What ComfyUI says of a node class; raises NodeError if it has none of that name."""
        return self.comfy.describe(class_type)

    def sample(self, job: Job, folder: Path) -> Callable[[], Drawn]:
        """Run one job. The function it returns encodes the results; it may be called in another thread while the next job runs.

        Raises:
            ComfyError: ComfyUI rejected the graph, or a node failed.
            RuntimeError: there are more or fewer images than planned.
        """
        began = time.monotonic()
        results = self._results(job)
        seconds = time.monotonic() - began
        job.check(sum(len(images) for images, _ in results))
        if MAP in job.graph and len(results) > 1:
            raise ComfyError(several_maps(len(results)))
        return partial(encoded, job, results, seconds)

    def check(self, job: Job) -> None:
        """Raise ComfyError if ComfyUI rejects a job, whose prompt and seed do not matter."""
        self.comfy.check(_catching(job.graph))

    def _results(self, job: Job) -> list[Result]:
        """Run a job; there are several results where the workflow passes its latents on as a list."""
        try:
            return self._caught(job)
        except OutOfMemory:  # what filled the memory may have been freed
            try:
                return self._caught(job)
            except OutOfMemory as error:
                raise OutOfMemory(f"{error} Give a smaller --batch, and another folder.") from error

    def _caught(self, job: Job) -> list[Result]:
        CatchImages.caught, CatchMaps.caught = [], []
        why = reasons(self.comfy.run(_catching(job.graph))) or UNKNOWN
        images, CatchImages.caught = CatchImages.caught, []
        maps, CatchMaps.caught = CatchMaps.caught, []
        if not images:
            raise ComfyError(f"{job.named} gave no images, because {why} Put that right and start the same command again.")
        if len(maps) < len(images):  # of a list, nothing tells which part has lost its map
            return [(part, why) for part in images]
        for part, measured in zip(images, maps, strict=True):
            if len(part) != measured.images:
                raise ComfyError(
                    f"{job.named} made {len(part)} images of {measured.images} latents: only still images can be batched."
                )
        return list(zip(images, maps, strict=True))

    def upload(self, name: str, content: bytes, subfolder: str) -> str:
        """Put a picture into ComfyUI's input folder; returns the name that LoadImage knows it by."""
        import folder_paths

        keep(Path(folder_paths.get_input_directory()), f"{subfolder}/{name}", content)
        return f"{subfolder}/{name}"

    def close(self) -> None:
        """Delete ComfyUI's temporary files."""
        self.comfy.temporary.remove()


def _catching(graph: Graph) -> Graph:
    """The graph with its saving nodes replaced by two that hand images and map to this process.

    ComfyUI does not run a node one of whose inputs is missing: images without a map come through the first.
    """
    saved = graph[SAVE]["inputs"]
    changed = {number: node for number, node in graph.items() if number not in (SAVE, MAP)}
    for number, name in ((CATCH, "images"), (CATCH_MAP, "uncertainty")):
        changed[number] = {"class_type": number, "inputs": {"caught": saved[name]}}
    return changed


class Catch:
    """Output node that keeps what it is given, at every call of a run. Only this process has it, browsers do not know it."""

    kind: ClassVar[str]
    caught: ClassVar[list[Any]] = []
    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "uncertainty", "catch", (), True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  # ComfyUI's name
        """The input, in ComfyUI's form."""
        return {"required": {"caught": (cls.kind,)}}

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> float:  # noqa: N802  # ComfyUI's name
        """Always changed: a job that is run again must give its results again."""
        return float("nan")

    def catch(self, caught: Any) -> dict[str, Any]:
        """Keep it."""
        type(self).caught.append(caught)
        return {}


class CatchImages(Catch):
    """Keeps images (B, H, W, 3)."""

    kind = "IMAGE"


class CatchMaps(Catch):
    """Keeps maps."""

    kind = "UNCERTAINTY"
