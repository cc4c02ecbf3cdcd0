"""A thousand runs in one server, to find leaks: ``python -m benchmarks.soak``.

Runs in turn measure, guide, preview, filter, save, calibrate, record baselines, fail and are interrupted. After every tenth run,
the server's memory, open files, threads and temporary files are recorded.
"""

import sys
import tempfile
import time
import urllib.request
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from dev.client import Graph, PromptFailed, make, run
from dev.server import ComfyServer

from . import results

NAME = "soak"
RUNS, EVERY = 1000, 10
# Runs during which ComfyUI and torch fill their caches. After that, ComfyUI's history still grows by 0.012 MB per run, also with
# KSampler.
SETTLED = 200
GROWN = {"memory_mb": 20.0, "files": 5, "threads": 5, "temporary_files": 10}


def graph(number: int) -> Graph:
    """The graph of a run: the kinds of runs take turns, each run has its own seed."""
    strength, samples = (1.0, 3) if number % 3 == 1 else (0.0, 3)
    sampler = {
        "model": ["model", 0], "seed": number, "steps": 4, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal",
        "positive": ["positive", 0], "negative": ["negative", 0], "latent_image": ["latent", 0], "denoise": 1.0,
        "samples": samples, "strength": strength, "percentile": 95.0, "window_start": 0.5, "window_end": 1.0,
        "options": ["options", 0],
    }  # fmt: skip
    look = {"uncertainty": ["sampler", 1], "images": ["images", 0], "quantity": "denoised_variance"}
    rule = {"mode": "keep_best", "keep": 1, "percentile": 50.0, "threshold": 0.0, "reject": "highest"}
    rule |= {"window_start": 0.0, "window_end": 1.0, "when_none_pass": "block"}
    baselines = {"paper_score": number % 5 == 0, "mc_dropout": number % 7 == 0, "cfg_rejection": True, "control": "none"}
    nodes = {
        "model": make("UncertaintyDemoModel", family="noise prediction", checkpoint="demo model"),
        "positive": make("CLIPTextEncode", text="cat face", clip=["model", 1]),
        "negative": make("CLIPTextEncode", text="", clip=["model", 1]),
        "latent": make("EmptyLatentImage", width=256, height=256, batch_size=2),
        "options": make("UncertaintyBaselines", **baselines),
        "sampler": make("UncertaintyKSampler", **sampler),
        "images": make("VAEDecode", samples=["sampler", 0], vae=["model", 2]),
        "preview": make("UncertaintyMapPreview", **look, step=-1, colormap="magma", opacity=0.6, normalize="image"),
        "filter": make("UncertaintyScoreFilter", **look, **rule),
        "saved": make("UncertaintySaveImage", images=["images", 0], uncertainty=["sampler", 1], filename_prefix="soak/image"),
    }
    if number % 4 == 0:
        # A calibration grows until it holds 512 images, so a new one is started now and then.
        name = f"soak {number // 100}"
        nodes["calibration"] = make("UncertaintyCalibrate", uncertainty=["sampler", 1], name=name, percentile=95.0)
    if number % 10 == 3:  # fails after it has sampled
        nodes["filter"]["inputs"] |= {"quantity": "bayesdiff"}
    return nodes


def interrupted(number: int) -> bool:
    """Whether a run is interrupted."""
    return number % 10 == 7


def usage(server: ComfyServer) -> dict[str, float]:
    """Memory, open files, threads and temporary files of the server."""
    process = Path("/proc") / str(server.process_id)
    status = dict(line.split(":", 1) for line in (process / "status").read_text(encoding="utf-8").splitlines())
    return {
        "memory_mb": int(status["VmRSS"].split()[0]) / 1024,
        "files": len(list((process / "fd").iterdir())),
        "threads": int(status["Threads"]),
        "temporary_files": sum(path.is_file() for path in (server.base / "temp").rglob("*")),
    }


def measure() -> dict[str, Any]:
    """Run everything and record the usage."""
    readings: list[dict[str, float]] = []
    ended = {"finished": 0, "failed": 0, "interrupted": 0}
    with tempfile.TemporaryDirectory() as folder, ComfyServer(base=Path(folder), log=Path(folder) / "server.log") as server:
        began = time.monotonic()
        for number in range(1, RUNS + 1):
            ended[_ended(server, number)] += 1
            if number % EVERY == 0:
                readings.append({"runs": number, **usage(server)})
                left = (time.monotonic() - began) / number * (RUNS - number)
                print(f"{number} runs, {readings[-1]['memory_mb']:.0f} MB, {left / 60:.0f} min left", flush=True)
    return {"ended": ended, "usage": readings}


def _ended(server: ComfyServer, number: int) -> str:
    steps = count()

    def stop(node: str, value: int, maximum: int) -> None:
        if interrupted(number) and next(steps) == 1:
            request = urllib.request.Request(f"{server.url}/interrupt", data=b"{}", method="POST")
            urllib.request.urlopen(request, timeout=60).close()

    try:
        run(server.url, graph(number), stop)
    except PromptFailed as failed:
        return "interrupted" if "interrupted" in str(failed) else "failed"
    return "finished"


def grown(readings: list[dict[str, float]]) -> dict[str, float]:
    """Growth after warm-up: the difference of the medians of the last and first tenth of the readings."""
    later = [row for row in readings if row["runs"] > SETTLED]
    part = max(1, len(later) // 10)
    return {name: median(r[name] for r in later[-part:]) - median(r[name] for r in later[:part]) for name in GROWN}


def draw(readings: list[dict[str, float]]) -> Any:
    """Plot usage over runs."""
    from matplotlib.figure import Figure

    made: Any = Figure(figsize=(9, 5), layout="constrained")
    for axis, name in zip(made.subplots(2, 2).flat, GROWN, strict=True):
        axis.plot([row["runs"] for row in readings], [row[name] for row in readings])
        axis.set(title=name.replace("_", " "), xlabel="runs", ylim=(0, None))
    return made


def main() -> None:
    """Command line."""
    _, only_table = results.arguments(__doc__, [NAME])
    if not only_table:
        began = time.monotonic()
        results.write(NAME, measure(), time.monotonic() - began)
    measured = results.read(NAME)
    readings, ended = measured["usage"], measured["ended"]
    results.write_figure(NAME, draw(readings))
    growth = grown(readings)
    head = ["", "start", "end", "growth after warm-up", "limit"]
    lines = [
        [name.replace("_", " "), *(f"{value:.4g}" for value in (readings[0][name], readings[-1][name], growth[name], most))]
        for name, most in GROWN.items()
    ]
    counts = ", ".join(f"{number} {how}" for how, number in ended.items())
    results.write_table(NAME, f"{sum(ended.values())} runs: {counts}\n\n{results.markdown(head, lines)}")
    too_much = {name: growth[name] for name, most in GROWN.items() if growth[name] > most}
    if too_much:
        sys.exit(f"error: grew beyond the limit: {too_much}")


if __name__ == "__main__":
    main()
