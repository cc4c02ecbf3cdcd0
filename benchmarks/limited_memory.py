"""A large model in the least memory in which KSampler samples it: ``python -m benchmarks.limited_memory [MODEL]``.

The model has random weights and full width, on the processor. KSampler draws one step, first in ample memory and then under a
limit on the process. Then the same step is measured with five probes under that limit. Quarter of an hour for SDXL on two cores.
"""

import logging
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import comfy.cli_args
import torch

# Before ComfyUI chooses: the attention whose memory does not depend on how much is free.
comfy.cli_args.args.use_pytorch_cross_attention = True

import comfy.model_patcher  # noqa: E402

from . import results  # noqa: E402
from .architectures import ARCHITECTURES  # noqa: E402
from .on_card import Sampling, randomise, unchanged  # noqa: E402
from .outside_calls import PROBES  # noqa: E402
from .process_memory import forget_peak, peak, status, trim  # noqa: E402

GIB = 2**30
# Beyond KSampler's: maps, probes, and fragments.
SMALL = 64 << 20
# Shares of what KSampler takes in ample memory: what it is given first, and how much more each time that this is too little.
FIRST, MORE = 3 / 4, 1 / 16


@contextmanager
def limited(room: int) -> Iterator[None]:
    """Within this context, the process cannot take more than so many bytes beyond what it has."""
    trim()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def least_room(run: Callable[[], Any], first: int, step: int) -> int:
    """The bytes, from ``first`` upwards in steps, in which a run does not run out of memory."""
    room = first
    while True:
        try:
            with limited(room):
                run()
        except (RuntimeError, MemoryError):
            room += step
        else:
            return room


def measure(name: str) -> dict[str, Any]:
    """Bytes, seconds, and whether the image is the same."""
    architecture = ARCHITECTURES[name]
    model = architecture.build(torch.float32)
    randomise(model.diffusion_model)
    cpu = torch.device("cpu")
    sampling = Sampling(comfy.model_patcher.ModelPatcher(model, cpu, cpu), architecture, name, 1, (0.0, 1.0))
    found: dict[str, Any] = {"model": name, "small": SMALL}

    def timed(way: str, run: Callable[[], Any]) -> Any:
        before, began = forget_peak(), time.perf_counter()
        made = run()
        found[way] = {"seconds": time.perf_counter() - began, "peak": peak() - before}
        print(way, found[way], flush=True)
        return made

    expected = timed("KSampler, in ample memory", lambda: sampling(unchanged))
    ample = found["KSampler, in ample memory"]["peak"]
    in_the_least = partial(timed, "KSampler, in the least", lambda: sampling(unchanged))
    found["room"] = least_room(in_the_least, int(FIRST * ample), int(MORE * ample))
    run = sampling.run()
    with limited(found["room"] + SMALL):
        drawn = timed("measuring, in the least", lambda: sampling(run.attach))
    found["identical"] = torch.equal(drawn, expected)
    found["recorded"] = list(run.uncertainty_map().steps) if run.has_map else []
    found["failure"] = run.failure
    return found


def table(found: dict[str, Any]) -> str:
    """What was found, in a table and a sentence."""
    ways = [way for way in found if isinstance(found[way], dict)]
    rows = [[way, f"{found[way]['peak'] / GIB:.2f}", f"{found[way]['seconds']:.0f}"] for way in ways]
    image = "identical to KSampler's" if found["identical"] else "**not** KSampler's"
    recorded = f"{len(found['recorded'])} step recorded" if found["recorded"] else f"no map ({found['failure']})"
    return (
        f"{found['model']}, {ARCHITECTURES[found['model']].size}, fp32, one step, {PROBES} probes. The tightest limit under "
        f"which KSampler samples is {found['room'] / GIB:.2f} GiB of addresses beyond those the process has with its weights; "
        f"measuring gets {SMALL >> 20} MiB more. The peaks are of memory in use, and so above it. "
        f"While measuring, the image is {image}; {recorded}.\n\n"
    ) + results.markdown(["way", "peak beyond the weights, GiB", "seconds"], rows)


def main() -> None:
    """Command line."""
    (name, *_), only_table = results.arguments(__doc__, ["SDXL", *(each for each in ARCHITECTURES if each != "SDXL")])
    if not only_table:
        logging.basicConfig(level=logging.WARNING)
        began = time.monotonic()
        with torch.inference_mode():
            found = measure(name)
        results.write("limited_memory", found, time.monotonic() - began)
    print(results.heading("limited_memory"))
    results.write_table("limited_memory", table(results.read("limited_memory")))


if __name__ == "__main__":
    main()
