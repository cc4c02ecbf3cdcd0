"""Jobs run by the ComfyUI of this process. Results stay in memory until they are encoded, without ComfyUI's output folder."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from uncertainty.maps import UncertaintyMap

from ..comfyui import Comfy, ComfyError, OutOfMemory, default_comfyui
from ..drawn_files import Drawn
from ..graph import Graph
from ..node_info import NodeInfo
from ..plan import Job
from ..run_folder import keep
from ..workflow import MAP, SAVE, several_maps
from .encoding import encoded

CATCH = "uncertainty batch catch"


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
        self.comfy.classes[CATCH] = Catch

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
        results = self._results(job.graph)
        seconds = time.monotonic() - began
        job.check(sum(len(images) for images, _ in results))
        if MAP in job.graph and len(results) > 1:
            raise ComfyError(several_maps(len(results)))
        return partial(encoded, job, results, seconds)

    def check(self, job: Job) -> None:
        """Raise ComfyError if ComfyUI rejects a job, whose prompt and seed do not matter."""
        self.comfy.validated("check", _catching(job.graph))

    def _results(self, graph: Graph) -> list[tuple[Tensor, UncertaintyMap]]:
        """Run a graph, and return its images (B, H, W, 3) with their map.

        There is one pair, or several where the workflow passes its latents on as a list.
        """
        changed = _catching(graph)
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


def _catching(graph: Graph) -> Graph:
    """The graph with its saving nodes replaced by one that hands images and map to this process."""
    saved = graph[SAVE]["inputs"]
    inputs = {name: saved[name] for name in ("images", "uncertainty")}
    changed = {number: node for number, node in graph.items() if number not in (SAVE, MAP)}
    changed[CATCH] = {"class_type": CATCH, "inputs": inputs}
    return changed


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
