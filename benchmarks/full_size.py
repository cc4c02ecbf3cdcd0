"""What measuring and guiding cost at the size that people use: ``python -m benchmarks.full_size``.

Three parts, three minutes on two cores. ``counted``: bytes and floating-point operations of model calls, exact, from the shapes
alone (``counting``), with torch's attention. ``outside``: seconds of all that is not a model call, at these latents. ``checked``:
SD1.5 is really run at full width with random weights, for the bytes that the process takes and the operations a second.
"""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import comfy.cli_args
import torch
from torch import nn

# Before ComfyUI chooses: the attention that it uses on graphics cards.
comfy.cli_args.args.use_pytorch_cross_attention = True

import comfy.model_management  # noqa: E402

from uncertainty.saved_tensors import written_over  # noqa: E402

from . import results  # noqa: E402
from .architectures import ARCHITECTURES, Architecture  # noqa: E402
from .counting import counted, without_memory  # noqa: E402
from .outside_calls import PROBES, seconds_outside  # noqa: E402
from .pack_modules import pack  # noqa: E402
from .process_memory import forget_peak, peak  # noqa: E402

# So that it estimates memory as on a card.
comfy.model_management.pytorch_attention_flash_attention = lambda: True

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CARDS = (8, 12, 16, 24)
# For the driver, ComfyUI and fragmentation, in GiB.
RESERVE = 1.0
SMALL = "SD1.5"
GIB = 2**30

Run = Callable[[Any], object]


def ways(architecture: Architecture, recomputed_blocks: Callable[[list[nn.Module]], AbstractContextManager]) -> dict[str, Run]:
    """By name, the model call that takes the most memory."""
    halves = architecture.halves

    def forward(images: int) -> Run:
        def run(model: Any) -> None:
            with torch.no_grad():
                architecture.call(model, torch.zeros(images, *architecture.latent))

        return run

    def gradient(recompute: bool) -> Run:
        def run(model: Any) -> None:
            with torch.enable_grad(), written_over(), recomputed_blocks([model]) if recompute else nullcontext():
                x = torch.zeros(halves, *architecture.latent, requires_grad=True)
                denoised = architecture.call(model, x.clone())  # the counter of operations refuses a leaf
                torch.autograd.grad(denoised, x, torch.ones_like(denoised))

        return run

    return {
        "KSampler, or measuring with one probe at once": forward(halves),
        f"measuring, {PROBES} probes at once": forward(PROBES * halves),
        "guiding, exact": gradient(recompute=False),
        "guiding, exact, recomputed": gradient(recompute=True),
    }


def count() -> dict[str, Any]:
    """Bytes of the weights, and of each way bytes above them and operations, by model and precision."""
    recomputed = pack("nodes.hook.recompute").recomputed_blocks
    found: dict[str, Any] = {}
    for name, architecture in ARCHITECTURES.items():
        for precision, dtype in DTYPES.items():
            build = partial(architecture.build, dtype)
            rows = {way: counted(build, run) for way, run in ways(architecture, recomputed).items()}
            weights = next(iter(rows.values()))[0]
            with without_memory():
                estimate = build().memory_required([architecture.halves, *architecture.latent])
            found.setdefault(name, {})[precision] = {
                "weights": weights,
                "estimate": estimate,
                "ways": {way: {"peak": peak, "operations": operations} for way, (_, peak, operations) in rows.items()},
            }
            print(f"counted {name}, {precision}", flush=True)
    return found


def outside() -> dict[str, dict[str, float]]:
    """Seconds of each part of a measured step that is not a model call, by model; medians."""
    return {name: seconds_outside(architecture.latent, "cpu") for name, architecture in ARCHITECTURES.items()}


def run_really(name: str, fits: Callable[[str], bool]) -> dict[str, dict[str, float]]:
    """A model with random weights, really run in fp32: by way that fits, bytes of the process above the weights, and seconds."""
    model = ARCHITECTURES[name].build(torch.float32)
    rng = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        fan = max(parameter[0].numel(), 1) if parameter.ndim > 1 else 1
        parameter.normal_(generator=rng).div_(fan**0.5)
    found: dict[str, dict[str, float]] = {}
    for way, run in ways(ARCHITECTURES[name], pack("nodes.hook.recompute").recomputed_blocks).items():
        if not fits(way):
            continue
        before = forget_peak()
        began = time.perf_counter()
        run(model)
        found[way] = {"seconds": time.perf_counter() - began, "bytes": peak() - before}
        print(f"ran {name}, {way}: {found[way]['seconds']:.0f} s", flush=True)
    return found


def bytes_table(found: dict[str, Any]) -> str:
    """Weights, and bytes above them, in Markdown."""
    plain, *others = _way_names(found)
    head = ["model", "draws", "precision", "weights", plain, *others, "graph ÷ ComfyUI's estimate", "operations of an evaluation"]
    lines = []
    for name, architecture in ARCHITECTURES.items():
        for precision, row in found[name].items():
            peaks = [f"{way['peak'] / GIB:.2f}" for way in row["ways"].values()]
            graph = row["ways"][others[1]]["peak"] / row["estimate"]
            operations = row["ways"][plain]["operations"] / 1e12
            size = f"{row['weights'] / GIB:.2f}"
            lines.append([name, architecture.size, precision, size, *peaks, f"{graph:.1f}", f"{operations:.1f} · 10¹²"])
    return results.markdown(head, lines)


def cards_table(found: dict[str, Any]) -> str:
    """The smallest card that holds weights and call at once, in bf16 and with weights of one byte."""
    names = _way_names(found)
    lines = []
    for name in ARCHITECTURES:
        row = found[name]["bf16"]
        peaks = [row["ways"][way]["peak"] for way in names]
        # The graph of weights in fp8 holds what they were cast to.
        of_cast = [*peaks[:2], peaks[2] + row["weights"], peaks[3]]
        for kind, weights, taken in (("bf16", row["weights"], peaks), ("fp8", row["weights"] / 2, of_cast)):
            needed = [(weights + peak) / GIB + RESERVE for peak in taken]
            lines.append([name, kind, *(f"{_card(total)} ({total:.1f})" for total in needed)])
    return results.markdown(["model", "weights", *names], lines)


def _card(needed: float) -> str:
    return next((f"{card} GB" for card in CARDS if needed <= card), "none of them")


def outside_table(measured: dict[str, dict[str, float]], checked: dict[str, Any], found: dict[str, Any]) -> str:
    """Seconds of each part, and all of them as a share of the calls they belong to, at the speed of the model that was run."""
    parts = list(next(iter(measured.values())))
    way = _way_names(found)[0]
    speed = found[SMALL]["fp32"]["ways"][way]["operations"] / checked[way]["seconds"]
    lines = []
    for name, seconds in measured.items():
        plain = found[name]["fp32"]["ways"][way]["operations"] / speed
        total = sum(taken for part, taken in seconds.items() if not part.startswith("of which") and part != "preview files")
        share = 100 * total / (PROBES * plain)
        lines.append([name, *(f"{seconds[part]:.3f}" for part in parts), f"{PROBES * plain:.0f}", f"{share:.2f} %"])
    return results.markdown(["model", *parts, "model calls", "share without preview"], lines)


def check_table(checked: dict[str, Any], found: dict[str, Any]) -> str:
    """Bytes counted and bytes that the process took."""
    lines = []
    for way, row in checked.items():
        expected = found[SMALL]["fp32"]["ways"][way]["peak"]
        lines.append([way, f"{expected / GIB:.2f}", f"{row['bytes'] / GIB:.2f}", f"{row['seconds']:.1f}"])
    return results.markdown(["way", "counted, GiB", "taken by the process, GiB", "seconds"], lines)


def _way_names(found: dict[str, Any]) -> list[str]:
    return list(next(iter(found.values()))["fp32"]["ways"])


def main() -> None:
    """Command line."""
    _, only_table = results.arguments(__doc__, ["all"])
    if not only_table:
        logging.disable(logging.WARNING)
        began = time.monotonic()
        found = count()
        with torch.no_grad():
            measured = {"counted": found, "outside": outside(), "checked": run_really(SMALL, lambda way: True)}
        results.write("full_size", measured, time.monotonic() - began)
    stored = results.read("full_size")
    found, checked = stored["counted"], stored["checked"]
    tables = {
        "GiB above the weights, counted": bytes_table(found),
        f"Smallest card, with {RESERVE:g} GiB to spare (GiB needed), computed from the counts and not tried": cards_table(found),
        "Seconds of a measured step": outside_table(stored["outside"], checked, found),
        f"{SMALL}, fp32, really run": check_table(checked, found),
    }
    print(results.heading("full_size"))
    results.write_table("full_size", "\n\n".join(f"**{title}**\n\n{table}" for title, table in tables.items()))


if __name__ == "__main__":
    main()
