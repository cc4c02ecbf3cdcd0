"""What a batch costs beside its sampling, and how it scales with workers.

``python -m benchmarks.batches``.

- overhead: a job as ``batch`` draws it beside the same sampler and decoder called bare, in one ComfyUI, alternately.
- workers: jobs a second of one and of two workers of one thread each, started once each, alternately given the same jobs.
- driver: jobs a second that one driver hands out to two workers, which draw nothing, and keeps; real jobs take seconds.
"""

import functools
import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dev.bootstrap import BASE, ROOT, comfyui
from uncertainty_runs.drawn_files import Drawn

from . import alone, results

NAME = "batches"
PARTS = ("overhead", "workers", "driver")
ROUNDS, JOBS = 12, 8
BATCH, PROMPTS = 4, 100
DRIVEN = 2000
RUN = {"width": 512, "height": 512, "batch_size": BATCH}
OPTIONS = ("--base-directory", str(BASE))


def graph() -> dict[str, Any]:
    """The demo's workflow up to its images."""
    found = json.loads((ROOT / "dev" / "best_of_16.api.json").read_text(encoding="utf-8"))
    found = {number: found[number] for number in ("1", "2", "3", "4", "5", "6")}
    found["4"]["inputs"] |= RUN
    found["5"]["inputs"] |= {"steps": 30}
    return found


def workflow() -> Any:
    """Its sampler measures already, so that all that is asked about it are its outputs."""
    from uncertainty_runs.node_info import NodeInfo
    from uncertainty_runs.workflow import Workflow

    return Workflow(graph(), lambda class_type: NodeInfo(class_type, {}, ("LATENT", "UNCERTAINTY")))


def plan(count: int, first: int = 0) -> Any:
    """Its jobs."""
    from uncertainty_runs.plan import Plan

    return Plan(workflow(), ["cat face"], first, count)


def overhead() -> dict[str, list[float]]:
    """Seconds of a job, as a batch draws it and bare; both in the thread of ComfyUI's queue, which has helpers of its own."""
    import torch

    from uncertainty_runs.engines.in_process import Renderer
    from uncertainty_runs.rows import Rows

    renderer, jobs = Renderer(comfyui(), OPTIONS), plan(ROUNDS + 1)
    found: dict[str, list[float]] = {"bare": [], "batch": []}
    nodes = renderer.comfy.classes
    with torch.inference_mode():
        model, clip, vae = nodes["UncertaintyDemoModel"].execute("noise prediction", "demo model").args
        positive, negative = (clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("cat face", ""))
    given = {"model": model, "positive": positive, "negative": negative}

    class Bare:
        RETURN_TYPES, FUNCTION, OUTPUT_NODE, CATEGORY = (), "run", True, "benchmark"

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  # ComfyUI's name
            return {"required": {"seed": ("INT", {})}}

        def run(self, seed: int) -> dict[str, Any]:
            began = time.perf_counter()
            latent = {"samples": torch.zeros(BATCH, 4, 64, 64)}
            inputs = jobs.workflow.inputs | given | {"latent_image": latent, "seed": seed}
            vae.decode(nodes["UncertaintyKSampler"].execute(**inputs).args[0]["samples"])
            found["bare"].append(time.perf_counter() - began)
            return {}

    nodes["Bare"] = Bare
    with tempfile.TemporaryDirectory() as folder:
        rows = Rows(Path(folder) / "rows")
        for number in range(ROUNDS + 1):
            began = time.perf_counter()
            rows.add(renderer.sample(jobs[number], Path(folder))().keep(Path(folder)))
            found["batch"].append(time.perf_counter() - began)
            renderer.comfy.run({"bare": {"class_type": "Bare", "inputs": {"seed": number}}})
    return {name: times[1:] for name, times in found.items()}  # the first loads


def workers() -> dict[str, list[float]]:
    """Seconds of the same jobs with one worker and with two."""
    from uncertainty_runs.engines.in_process import Renderer
    from uncertainty_runs.engines.ray_workers import RayEngine

    os.environ["OMP_NUM_THREADS"] = "1"
    make = functools.partial(Renderer, comfyui(), OPTIONS)
    found: dict[str, list[float]] = {"1": [], "2": []}
    engine = RayEngine(make, 2)
    while len(engine.crew.started) < 2:
        engine.crew.wait([])
    both = list(engine.crew.started)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(-1, 5):
            for count in (1, 2):
                engine.crew.started = both[:count]
                began = time.perf_counter()
                for _ in engine.draw_all(plan(JOBS, first=JOBS * (number + 1)), Path(folder)):
                    pass
                if number >= 0:  # the first starts and loads
                    found[str(count)].append(time.perf_counter() - began)
    engine.close()
    return found


class Unwritten(Drawn):
    """Files of images that are not there."""

    def keep(self, folder: Path) -> list[Any]:
        """The rows alone."""
        return self.rows


class Nothing:
    """A renderer that draws nothing and says it is done."""

    def check(self, job: Any) -> None:
        """Nothing is lacking."""

    def sample(self, job: Any, folder: Path) -> Any:
        """Rows of images that are not there."""
        return lambda: Unwritten(list(simulated(job.number)), {})

    def close(self) -> None:
        """Nothing was opened."""


def driver() -> dict[str, float]:
    """Jobs a second, after a warm-up, with their rows kept."""
    from uncertainty_runs.drawing import draw
    from uncertainty_runs.engines.ray_workers import RayEngine

    engine = RayEngine(Nothing, 2)  # type: ignore[arg-type]
    seconds = []
    for first in (0, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            draw(lambda: engine, plan(DRIVEN, first=first), Path(folder))
            seconds.append(time.perf_counter() - began)
    engine.close()
    return {"jobs per second": DRIVEN / seconds[1]}


def simulated(number: int) -> Iterator[Any]:
    """Rows of a job."""
    from uncertainty.quantities import QUANTITIES
    from uncertainty.storage.records import ImageRecord
    from uncertainty_runs.rows import File, Row
    from uncertainty_runs.run_folder import image_of

    for place in range(BATCH):
        scores = dict.fromkeys(QUANTITIES, ((number * BATCH + place) * 0.618 % 1, 0.01))
        file = File(image_of(number, place), 0, hashlib.sha256(f"{number} {place}".encode()).hexdigest())
        prompt, digest = f"prompt {number % PROMPTS}", f"{number:08x}{place:08x}"
        about = {
            "number": number,
            "prompt": prompt,
            "prompt_digest": prompt,
            "seed": number // PROMPTS,
            "digest": digest,
            "file": file.name,
        }
        yield Row(ImageRecord(scores, "fingerprint", "model", place, settings="{}", **about), file, None, 1.0)


def tables(found: dict[str, Any]) -> str:
    """What README and docs/scale.md show."""
    lines = []
    if "overhead" in found:
        bare, batch = (statistics.median(found["overhead"][name]) / BATCH for name in ("bare", "batch"))
        ratios = [b / a for a, b in zip(found["overhead"]["bare"], found["overhead"]["batch"], strict=True)]
        more, low, high = (100 * (value - 1) for value in (statistics.median(ratios), *_quartiles(ratios)))
        lines.append(("seconds per image, sampler and decoder only", f"{bare:.3f}"))
        lines.append(("seconds per image, in a batch", f"{batch:.3f}"))
        lines.append(("overhead of the batch, median and quartiles of pairs", f"{more:+.1f} % ({low:+.1f} to {high:+.1f})"))
    if "workers" in found:
        one, two = (statistics.median(found["workers"][name]) for name in ("1", "2"))
        lines.append(("images per second, 1 worker with one thread", f"{JOBS * BATCH / one:.2f}"))
        lines.append(("images per second, 2 workers with one thread each", f"{JOBS * BATCH / two:.2f}"))
        ratios = [a / b for a, b in zip(found["workers"]["1"], found["workers"]["2"], strict=True)]
        low, high = _quartiles(ratios)
        lines.append(
            (
                "efficiency of 2 workers, median and quartiles",
                f"{statistics.median(ratios) / 2:.0%} ({low / 2:.0%} to {high / 2:.0%})",
            )
        )
    if "driver" in found:
        lines.append(("jobs per second that one driver can hand out", f"{found['driver']['jobs per second']:.0f}"))
    return results.markdown(("", "measured"), lines)


def _quartiles(values: list[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def main() -> None:
    """Command line."""
    if asked := alone.asked():
        print(json.dumps({"overhead": overhead, "workers": workers, "driver": driver}[asked[0]]()))
        return
    parts, only_table = results.arguments(__doc__, PARTS)
    if not only_table:
        began = time.perf_counter()
        before = results.read(NAME) if len(parts) < len(PARTS) else {}  # the other parts stay
        measured = {part: alone.run("benchmarks.batches", part) for part in parts}
        results.write(NAME, before | measured, time.perf_counter() - began)
    results.write_table(NAME, tables(results.read(NAME)))


if __name__ == "__main__":
    main()
