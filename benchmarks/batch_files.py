"""How long sampling waits for files of 1024² pixels, if they are written before the next job, and as a batch writes them.

``python -m benchmarks.batch_files``. The pictures are noise, clipped. The network is replaced by one that
sleeps, as a processor does that waits for a GPU; noise levels, measuring and decoding are real.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from dev.bootstrap import comfyui

from . import results
from .batches import OPTIONS, graph

NAME = "batch_files"
RUNS = 4
SECONDS_ASLEEP = 0.2


def waiting() -> dict[str, float]:
    """Parts of the time between the first and the last sampled image in which nothing is sampled."""
    from uncertainty_runs.engines.in_process import Renderer
    from uncertainty_runs.engines.one_by_one import OneByOne
    from uncertainty_runs.plan import Plan
    from uncertainty_runs.workflow import Workflow

    class Asleep:
        RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "run", "benchmark"

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  # ComfyUI's name
            return {"required": {"model": ("MODEL",)}}

        def run(self, model: Any) -> tuple[Any]:
            def network(apply: Any, given: dict[str, Any]) -> Any:
                time.sleep(SECONDS_ASLEEP)
                return given["input"] * 0

            patched = model.clone()
            patched.set_model_unet_function_wrapper(network)
            return (patched,)

    class Timed(Renderer):
        """Notes when it samples."""

        def sample(self, job: Any, folder: Path) -> Any:
            began = time.perf_counter()
            files = super().sample(job, folder)
            spans.append((began, time.perf_counter()))
            return files

    spans: list[tuple[float, float]] = []
    renderer = Timed(comfyui(), OPTIONS)
    renderer.comfy.classes["Asleep"] = Asleep
    large = graph() | {"asleep": {"class_type": "Asleep", "inputs": {"model": ["1", 0]}}}
    large["4"]["inputs"] |= {
        "width": 8 * 1024,
        "height": 8 * 1024,
        "batch_size": 1,
    }  # the demo model's pixels are ComfyUI's latents
    large["5"]["inputs"] |= {"steps": 10, "samples": 2, "model": ["asleep", 0]}
    jobs = Plan(Workflow(large, renderer.describe), ["cat face"], 0, RUNS)

    def waited() -> float:
        (began, _), *_, (_, ended) = spans
        return 1 - sum(end - begin for begin, end in spans) / (ended - began)

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        renderer.sample(jobs[0], Path(folder))  # the first loads
        spans.clear()
        for job in jobs:
            renderer.sample(job, Path(folder))().keep(Path(folder))
        found["after each job"] = waited()
        spans.clear()
        for _ in OneByOne(renderer).draw_all(jobs, Path(folder)):
            pass
        found["meanwhile"] = waited()
        found["seconds an image"] = statistics.median(end - begin for begin, end in spans)
        found["MB a file"] = statistics.mean(file.stat().st_size for file in Path(folder).rglob("*.png")) / 1e6
    return found


def main() -> None:
    """Command line."""
    _, only_table = results.arguments(__doc__, ())
    if not only_table:
        began = time.perf_counter()
        measured = waiting()
        results.write(NAME, measured, time.perf_counter() - began)
    found = results.read(NAME)
    lines = [
        ("seconds to sample an image", f"{found['seconds an image']:.2f}"),
        ("MB of its file", f"{found['MB a file']:.1f}"),
        ("sampling waits for files that are written before the next job", f"{found['after each job']:.2%}"),
        ("sampling waits for files that are written meanwhile, as in a batch", f"{found['meanwhile']:.2%}"),
    ]
    results.write_table(NAME, results.markdown(("", "measured"), lines))


if __name__ == "__main__":
    main()
