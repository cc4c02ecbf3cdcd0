"""What a batch costs beside its sampling, how it scales with workers, and its rows by the hundred thousand.

``python -m benchmarks.batches``.

- overhead: a job as ``batch`` draws it beside the same sampler and decoder called bare, in one ComfyUI, alternately.
- workers: jobs a second of one and of two workers of one thread each, started once each, alternately given the same jobs.
- driver: jobs a second that one driver hands out to two workers, which draw nothing, and keeps; real jobs take seconds.
- rows: adding, resuming, ranking; each size in a process of its own, for its memory.
"""

import functools
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dev.bootstrap import BASE, ROOT, comfyui

from . import results

NAME = "batches"
PARTS = ("overhead", "workers", "driver", "rows")
ROUNDS, JOBS = 12, 8
SIZES = (10_000, 100_000)
BATCH, PROMPTS = 4, 100
ADDED_AT_ONCE, DRIVEN = 400, 2000
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
            rows.add(renderer.draw(jobs[number], Path(folder)))
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


class Nothing:
    """A renderer that draws nothing and says it is done."""

    def draw(self, job: Any, folder: Path) -> list[Any]:
        """Rows of images that are not there."""
        return list(simulated(job.number))

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
    return {"jobs a second": DRIVEN / seconds[1]}


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


def rows(size: int) -> dict[str, float]:
    """Seconds and most memory of a folder of so many images, with files, as empty as such files may be."""
    from uncertainty_runs.command_line import parser
    from uncertainty_runs.plan import Plan
    from uncertainty_runs.rank import kept, look, table
    from uncertainty_runs.run_folder import BatchFolder, image_of

    prompts = [f"prompt {number}" for number in range(PROMPTS)]
    jobs = Plan(workflow(), prompts, 0, size // BATCH, BATCH)
    seconds: dict[str, float] = {}

    def timed(name: str, does: Any) -> Any:
        began = time.perf_counter()
        answer = does()
        seconds[name] = time.perf_counter() - began
        return answer

    with tempfile.TemporaryDirectory() as path:
        folder = BatchFolder(Path(path), jobs)
        before = memory()
        timed("plan", lambda: [job.seed for job in jobs])
        for number in range(len(jobs)):
            for place in range(BATCH):
                file = Path(path, image_of(number, place))
                if number % 1000 == place == 0:
                    file.parent.mkdir(parents=True)
                file.touch()

        def add() -> None:
            for first in range(0, len(jobs), ADDED_AT_ONCE):
                numbers = range(first, min(first + ADDED_AT_ONCE, len(jobs)))
                folder.rows.add([row for number in numbers for row in simulated(number)])

        timed("add", add)
        check(timed("resume", folder.missing) == [])
        adding = memory()
        found = timed("read", lambda: look(Path(path), "denoised_variance"))
        asked = parser().parse_args(["rank", path, "--keep", "1", "--reject", "highest"])
        best = timed("best of each prompt", lambda: kept(found, asked))
        check(len(best) == PROMPTS)
        timed("sorted list", lambda: sum(1 for _ in table(found, best, asked)))
        size_on_disk = sum(file.stat().st_size for file in folder.rows.folder.iterdir())
    return seconds | {
        "bytes a row": size_on_disk / size,
        "MB to draw and resume": adding - before,
        "MB to rank": memory() - before,
    }


def check(is_right: bool) -> None:
    """Do not measure what is wrong."""
    if not is_right:
        raise RuntimeError("rows came out wrong: run the tests.")


def memory() -> float:
    """Most memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(parts: list[str]) -> dict[str, Any]:
    """The parts, each in a process of its own."""
    found: dict[str, Any] = {}
    for part in parts:
        for size in SIZES if part == "rows" else (0,):
            print(f"{part} {size or ''} …", flush=True)
            command = [sys.executable, "-m", "benchmarks.batches", "one", part, str(size)]
            environment = os.environ | {"PYTHONPATH": str(ROOT / "dev" / "site")}
            done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            answer = json.loads(done.stdout.splitlines()[-1])
            found[f"{part} {size}" if size else part] = answer
    return found


def tables(found: dict[str, Any]) -> str:
    """What README and docs/scale.md show."""
    lines = []
    if "overhead" in found:
        bare, batch = (statistics.median(found["overhead"][name]) / BATCH for name in ("bare", "batch"))
        ratios = [b / a for a, b in zip(found["overhead"]["bare"], found["overhead"]["batch"], strict=True)]
        more, low, high = (100 * (value - 1) for value in (statistics.median(ratios), *_quartiles(ratios)))
        lines.append(("seconds an image, sampler and decoder alone", f"{bare:.3f}"))
        lines.append(("seconds an image, as a batch draws it", f"{batch:.3f}"))
        lines.append(("more, median and quartiles of pairs", f"{more:+.1f} % ({low:+.1f} to {high:+.1f})"))
    if "workers" in found:
        one, two = (statistics.median(found["workers"][name]) for name in ("1", "2"))
        lines.append(("images a second, 1 worker of one thread", f"{JOBS * BATCH / one:.2f}"))
        lines.append(("images a second, 2 workers of one thread", f"{JOBS * BATCH / two:.2f}"))
        ratios = [a / b for a, b in zip(found["workers"]["1"], found["workers"]["2"], strict=True)]
        low, high = _quartiles(ratios)
        lines.append(("2 workers against perfect", f"{statistics.median(ratios) / 2:.0%} ({low / 2:.0%} to {high / 2:.0%})"))
    if "driver" in found:
        lines.append(("jobs a second that one driver can hand out", f"{found['driver']['jobs a second']:.0f}"))
    table = results.markdown(("", "measured"), lines) if lines else ""
    sizes = [size for size in SIZES if f"rows {size}" in found]
    if sizes:
        names = list(found[f"rows {sizes[0]}"])
        rows = [(name, *(f"{found[f'rows {size}'][name]:.2f}" for size in sizes)) for name in names]
        table += "\n\n" + results.markdown(("seconds, if nothing else is said", *(f"{size:,} images" for size in sizes)), rows)
    return table.strip()


def _quartiles(values: list[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def main() -> None:
    """Command line."""
    if sys.argv[1:2] == ["one"]:
        part, size = sys.argv[2], int(sys.argv[3])
        sys.argv = sys.argv[:1]
        print(json.dumps(rows(size) if part == "rows" else {"overhead": overhead, "workers": workers, "driver": driver}[part]()))
        return
    parts, only_table = results.arguments(__doc__, PARTS)
    if not only_table:
        began = time.perf_counter()
        before = results.read(NAME) if len(parts) < len(PARTS) else {}  # the other parts stay
        results.write(NAME, before | measure(parts), time.perf_counter() - began)
    results.write_table(NAME, tables(results.read(NAME)))


if __name__ == "__main__":
    main()
