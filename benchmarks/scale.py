"""Memory and time for large batches, images and videos with each choice of keep_maps.

``python -m dev.launcher -m benchmarks.scale``. The model is a network of two convolutions, so that the cost of measuring
dominates. Each run has its own process. Memory is the peak of private memory, which does not include mapped files.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dev.bootstrap import ROOT

from . import results

NAME = "scale"
CASES = {
    "64 images of 1024×1024": (64, 4, 128, 128),
    "1 image of 2048×2048, 16 channels": (1, 16, 256, 256),
    "1 video of 121 frames of 1280×720": (1, 16, 31, 90, 160),
}
KEEP = ("every_step", "sum", "on_disk")
STEPS, WINDOW, SAMPLES = 20, (0.4, 0.9), 5
LOOK_SECONDS = 0.01


def network(dimensions: int, channels: int) -> Any:
    """A network of two convolutions that ComfyUI can call."""
    from torch import nn

    class Toy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            import torch

            layer = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
            self.layers = nn.Sequential(layer(channels, 8, 3, padding=1), nn.SiLU(), layer(8, channels, 3, padding=1))
            self.dtype = torch.float32

        def forward(self, x: Any, timesteps: Any, context: Any = None, **others: Any) -> Any:
            return self.layers(x)

    return Toy()


def own_memory() -> float:
    """Private memory of this process, in MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024


def run(case: str, keep: str) -> dict[str, float]:
    """Sample once with KSampler and once with measuring. Returns times, and the memory in excess of KSampler's."""
    import comfy.latent_formats
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models
    import torch

    import nodes as comfy_nodes

    from .pack_modules import pack

    sampler = pack("nodes.sampling.ksampler").UncertaintyKSampler
    options = pack("uncertainty.options").Options
    shape = CASES[case]
    torch.manual_seed(0)
    config = comfy.supported_models.SD15({"in_channels": shape[1]})
    config.latent_format = comfy.latent_formats.LatentFormat()
    config.latent_format.latent_channels = shape[1]
    config.latent_format.latent_dimensions = len(shape) - 2
    config.set_inference_dtype(torch.float32, None)
    with torch.inference_mode():
        toy = network(len(shape) - 2, shape[1])
        model = comfy.model_base.BaseModel(config, comfy.model_base.ModelType.EPS, unet_model=lambda **_: toy)
        cpu = torch.device("cpu")
        patcher = comfy.model_patcher.ModelPatcher(model, cpu, cpu)
        prompt = [[torch.zeros(1, 1, 8), {}]]
        inputs = {
            "model": patcher, "seed": 1, "steps": STEPS, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal",
            "positive": prompt, "negative": prompt, "denoise": 1.0,
        }  # fmt: skip
        measuring = {"samples": SAMPLES, "strength": 0.0, "percentile": 95.0, "options": options(keep_maps=keep)}
        measuring |= dict(zip(("window_start", "window_end"), WINDOW, strict=True))
        empty = {"samples": torch.zeros(shape)}
        plain_seconds, plain_memory, _ = _watched(lambda: comfy_nodes.common_ksampler(**inputs, latent=empty))
        seconds, memory, uncertainty = _watched(lambda: sampler.execute(**inputs, **measuring, latent_image=empty).args[1])
    size = sum(value.nbytes for value in uncertainty.quantities.values()) / 2**20
    return {"plain_seconds": plain_seconds, "seconds": seconds, "memory_mb": memory - plain_memory, "map_mb": size}


def _watched(does: Any) -> tuple[float, float, Any]:
    """Run a function. Returns seconds, peak memory and the function's result."""
    most, done = own_memory(), threading.Event()

    def look() -> None:
        nonlocal most
        while not done.wait(LOOK_SECONDS):
            most = max(most, own_memory())

    watcher = threading.Thread(target=look)
    watcher.start()
    began = time.perf_counter()
    try:
        result = does()
    finally:
        seconds = time.perf_counter() - began
        done.set()
        watcher.join()
    return seconds, max(most, own_memory()), result


def measure() -> dict[str, dict[str, dict[str, float]]]:
    """Run every case with every choice of keep_maps, each in its own process."""
    measured: dict[str, dict[str, dict[str, float]]] = {}
    for case in CASES:
        for keep in KEEP:
            command = [sys.executable, "-m", "dev.launcher", "-m", "benchmarks.scale"]
            environment = os.environ | {"SCALE": json.dumps([case, keep])}
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"error: {case}, {keep}: {done.stderr[-3000:]}")
            measured.setdefault(case, {})[keep] = json.loads(done.stdout.splitlines()[-1])
            print(case, keep, measured[case][keep], flush=True)
    return measured


def main() -> None:
    """Command line."""
    if "SCALE" in os.environ:
        print(json.dumps(run(*json.loads(os.environ["SCALE"]))))
        return
    _, only_table = results.arguments(__doc__, [NAME])
    if not only_table:
        began = time.monotonic()
        results.write(NAME, measure(), time.monotonic() - began)
    lines = []
    for case, ways in results.read(NAME).items():
        for keep, row in ways.items():
            cells = (row["map_mb"], row["memory_mb"], row["plain_seconds"], row["seconds"])
            lines.append([case, keep, *(f"{cell:.3g}" for cell in cells)])
    head = ["what", "keep_maps", "map, MB", "memory over KSampler's, MB", "KSampler, s", "measuring, s"]
    results.write_table(NAME, results.markdown(head, lines))


if __name__ == "__main__":
    main()
