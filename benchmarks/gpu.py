"""What measuring and guiding take on a graphics card, and whether they give the same there: ``python -m benchmarks.gpu``.

Eight minutes at most on an H100. ``sizes``: seconds and bytes of the models of ``full_size``, run in bf16. ``agree``:
SD1.5 at full width with the same random weights in a new ComfyUI for every way of starting it, compared with float32 on the
processor. ``synchronisations``: where the host waits for the card.

``NEWER_COMFYUI=/path`` adds a version with dynamic memory; ``XFORMERS_AND_SAGE=/path`` names a folder that holds these packages.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dev.bootstrap import ROOT
from uncertainty.metrics.ranking import spearman

from . import results

# Files of a part, and of the folder of all parts.
FOUND, TENSORS, WEIGHTS = "found.json", "tensors.safetensors", "weights.safetensors"
PLAIN = "KSampler"
GIB = 2**30

NEWER = os.environ.get("NEWER_COMFYUI", "")
# Folders of packages that change ComfyUI by being installed, such as xformers.
PACKAGES = os.environ.get("XFORMERS_AND_SAGE", "")
# Seconds for everything, of these for the models at full width, and for one process.
BUDGET, SIZES, SECONDS = 470, 200, 200
AT_ONCE = 5


@dataclass(frozen=True)
class Start:
    """A way of starting ComfyUI.

    Attributes:
        name: in words.
        options: of ComfyUI's command line.
        part: what to run in it.
        newer: whether in the newer ComfyUI.
        alone: whether nothing else may run on the card meanwhile.
        packages: whether xformers and SageAttention are to be installed.
    """

    name: str
    options: tuple[str, ...] = ()
    part: str = "agree"
    newer: bool = False
    alone: bool = False
    packages: bool = False


REFERENCE = "processor, float32"
STARTS = (
    Start("torch.compile", part="agree_compiled"),
    Start(REFERENCE, ("--cpu", "--force-fp32")),
    Start("float32", ("--force-fp32",)),
    Start("fp16 (default)"),
    Start("bf16", ("--bf16-unet",)),
    Start("weights in fp8", ("--fp8_e4m3fn-unet",)),
    Start("--novram", ("--novram",)),
    Start("--novram --async-offload", ("--novram", "--async-offload")),
    Start("split attention", ("--use-split-cross-attention",)),
    Start("xformers", packages=True),
    Start("SageAttention", ("--use-sage-attention", "--disable-xformers"), packages=True),
    Start("0.33, dynamic memory (default)", newer=True),
    Start("0.33, --disable-dynamic-vram", ("--disable-dynamic-vram",), newer=True),
    Start("0.33, --novram", ("--novram",), newer=True),
    Start("0.33, --novram --disable-async-offload", ("--novram", "--disable-async-offload"), newer=True),
    Start("little memory", ("--lowvram",), "agree_with_little_memory", alone=True),
    Start("0.33, little memory, dynamic", (), "agree_with_little_memory", newer=True, alone=True),
    Start("0.33, little memory, not dynamic", ("--disable-dynamic-vram",), "agree_with_little_memory", newer=True, alone=True),
)


@dataclass
class Runner:
    """Runs parts in processes of their own, in a folder that holds the weights."""

    folder: Path

    def __call__(self, start: Start, seconds: float) -> dict[str, Any]:
        """What a part found within some seconds; ``failed`` says why it ended early, or did not begin."""
        if seconds <= 0:
            return {"failed": "no time was left"}
        folder = self.folder / start.name.replace(" ", "_")
        folder.mkdir()
        environment = os.environ | ({"COMFYUI_PATH": NEWER} if start.newer else {})
        if start.packages:
            environment["PYTHONPATH"] = os.pathsep.join([PACKAGES, os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "benchmarks.card_process", start.part, str(folder), *start.options]
        began = time.monotonic()
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds, check=False
            )
            printed, code = done.stdout + done.stderr, done.returncode
        except subprocess.TimeoutExpired as error:
            printed, code = f"not ready after {error.timeout:.0f} s", 124
        (folder / "log.txt").write_text(printed, encoding="utf-8")
        print(f"{start.name}: {time.monotonic() - began:.0f} s, exit {code}", flush=True)
        path = folder / FOUND
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if code:
            found["failed"] = next((line for line in reversed(printed.splitlines()) if line.strip()), "no message")
        return found


def run_all(folder: Path) -> dict[str, Any]:
    """All parts; what is timed runs alone, and last, in what is left of the time."""
    began, runner = time.monotonic(), Runner(folder)

    def left() -> float:
        return BUDGET - (time.monotonic() - began)

    def run(start: Start) -> dict[str, Any]:
        return runner(start, min(SECONDS, left() - SIZES))

    run(Start("weights", part="write_weights"))
    (folder / "weights" / WEIGHTS).rename(folder / WEIGHTS)
    possible = [start for start in STARTS if (NEWER or not start.newer) and (PACKAGES or not start.packages)]
    together = [start for start in possible if not start.alone]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        agreed = dict(zip((start.name for start in together), pool.map(run, together), strict=True))
    agreed |= {start.name: run(start) for start in possible if start.alone}
    waits = run(Start("waits", part="synchronisations"))
    sizes = runner(Start("sizes", part="sizes"), left())
    return {"agreed": agreed, "differences": differences(folder, list(agreed)), "waits": waits, "sizes": sizes}


def differences(folder: Path, names: list[str]) -> dict[str, dict[str, float]]:
    """Of each way of starting, how far map, guidance and image are from the processor's or, without it, the card's in float32."""
    reference = next((found for name in (REFERENCE, "float32") if (found := _tensors(folder, name))), {})
    found = {}
    for name in names:
        tensors = _tensors(folder, name)
        if tensors and reference:
            found[name] = {
                "map": _relative(tensors["map of measuring"], reference["map of measuring"]),
                "ranks": spearman(tensors["map of measuring"].flatten(), reference["map of measuring"].flatten()),
                "image": _relative(tensors["KSampler"], reference["KSampler"]),
                "guidance": float(
                    cosine_similarity(*((one["guiding"] - one["KSampler"]).flatten() for one in (tensors, reference)), dim=0)
                ),
            }
    return found


def _tensors(folder: Path, name: str) -> dict[str, Tensor]:
    path = folder / name.replace(" ", "_") / TENSORS
    return safetensors.torch.load_file(path) if path.exists() else {}


def _relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def seconds_table(sizes: dict[str, Any]) -> str:
    """Seconds of each way as a multiple of KSampler's, round by round; medians."""
    head = ["model", "KSampler, s", *(way for way in _ways(sizes) if way != PLAIN)]
    lines = []
    for name, row in sizes.items():
        cells = [name, f"{median(row['seconds'][PLAIN]):.2f}"]
        for way in head[2:]:
            taken = row["seconds"].get(way)
            pairs = zip(taken or (), row["seconds"][PLAIN], strict=False)
            cells.append(f"{median(one / plain for one, plain in pairs):.2f}" if taken else _reason(row, way))
        lines.append(cells)
    return results.markdown(head, lines)


def memory_table(sizes: dict[str, Any]) -> str:
    """GiB of tensors that each way takes more than KSampler."""
    head = ["model", *(way for way in _ways(sizes) if way != PLAIN)]
    lines = []
    for name, row in sizes.items():
        more = {way: f"{(peak - row['peak'][PLAIN]) / GIB:.2f}" for way, peak in row["peak"].items()}
        lines.append([name, *(_reason(row, way) if way in row["failures"] else more[way] for way in head[1:])])
    return results.markdown(head, lines)


def _ways(sizes: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(way for row in sizes.values() for way in row["peak"]))


def _reason(row: dict[str, Any], way: str) -> str:
    text = row["failures"].get(way, "")
    return "autograd refuses" if "inplace" in text or "in-place" in text else "does not fit"


def outside_table(sizes: dict[str, Any]) -> str:
    """Milliseconds of what is no model call, and as a share of the calls of one measured step."""
    parts = list(dict.fromkeys(part for row in sizes.values() for part in row["outside"]))
    lines = []
    for name, row in sizes.items():
        inside = 5 / 6 * median(row["seconds"][PLAIN])
        total = sum(
            taken for part, taken in row["outside"].items() if not part.startswith("of which") and part != "preview files"
        )
        cells = [f"{1000 * row['outside'][part]:.1f}" for part in parts]
        lines.append([name, *cells, f"{1000 * inside:.0f}", f"{100 * total / inside:.1f} %"])
    return results.markdown(["model", *parts, "model calls", "share without preview"], lines)


def agreement_table(found: dict[str, Any]) -> str:
    """What every way of starting gives."""
    head = [
        "ComfyUI started with", "attention", "image while measuring", "map, relative difference", "map, rank correlation",
        "gradient", "guidance, cosine", "GiB KSampler, measuring, guiding",
    ]  # fmt: skip
    lines = []
    for name, row in found["agreed"].items():
        apart = found["differences"].get(name)
        if "failed" in row:
            lines.append([name, row["failed"], *["–"] * 6])
            continue
        same = "identical to KSampler's" if row["identical"] else "differs from KSampler's"
        peaks = " / ".join(f"{peak / GIB:.2f}" for peak in row["peak"].values()) or "–"
        map_, ranks, guidance = (
            (f"{apart['map']:.1e}", f"{apart['ranks']:.4f}", f"{apart['guidance']:.4f}") if apart else ["–"] * 3
        )
        attention = row["attention"].removeprefix("attention_")
        lines.append([name, attention, same, map_, ranks, row["gradient"], guidance, peaks])
    return results.markdown(head, lines)


def waits_table(waits: dict[str, Any]) -> str:
    """Lines of the pack that wait for the card, and how often in a run that records one step and in one that records three."""
    lines = [
        [name, f"`{line}`", *map(str, counts), f"{(counts[1] - counts[0]) / 2:g}"]
        for name, places in waits.items()
        for line, counts in places.items()
    ]  # fmt: skip
    return results.markdown(["run", "line", "1 step", "3 steps", "a step"], lines)


def main() -> None:
    """Command line."""
    _, only_table = results.arguments(__doc__, ["all"])
    if not only_table:
        if not torch.cuda.is_available():
            sys.exit("error: benchmarks.gpu needs a CUDA graphics card, and torch finds none.")
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = run_all(Path(folder))
        results.write("gpu", found, time.monotonic() - began)
    found = results.read("gpu")
    tables = {
        "Seconds of six steps, one of them measured or guided with five probes, as multiples of KSampler": seconds_table,
        "GiB of tensors above KSampler's": memory_table,
        "Milliseconds of a measured step": outside_table,
    }
    sizes = {name: row for name, row in found["sizes"].items() if name != "failed"}
    shown = {title: table(sizes) for title, table in tables.items()}
    if "failed" in found["sizes"]:
        shown[f"Models after {', '.join(sizes) or 'none'} were not run"] = found["sizes"]["failed"]
    shown["SD1.5 against float32"] = agreement_table(found)
    shown["Where the host waits for the card"] = found["waits"].get("failed") or waits_table(found["waits"])
    print(results.heading("gpu"))
    results.write_table("gpu", "\n\n".join(f"**{title}**\n\n{table}" for title, table in shown.items()))


if __name__ == "__main__":
    main()
