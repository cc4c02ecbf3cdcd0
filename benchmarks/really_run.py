"""Models at full width with random weights, really run in fp32: ``python -m benchmarks.really_run``, by default all that fit.

On two cores SDXL and SD3.5 take ten minutes each, LTX-Video half an hour, Wan an hour. The table compares the bytes that the
process takes with those that ``full_size`` counted, and the seconds with those expected from SD1.5, which is run just before.
What does not fit into free memory is left out.
"""

import logging
import time
from datetime import date
from typing import Any

import torch

from . import results
from .architectures import ARCHITECTURES
from .full_size import GIB, SMALL, run_really
from .process_memory import available

NAME = "really_run"
# For all else in the process, in bytes.
MARGIN = GIB


def run(name: str, counted: dict[str, Any]) -> dict[str, Any]:
    """Seconds of a call of SD1.5, and bytes and seconds of each way of the model that fits, with date and device."""

    def fits(way: str) -> bool:
        return bool(counted["ways"][way]["peak"] + MARGIN < available())

    plain = next(iter(counted["ways"]))
    small = run_really(SMALL, lambda way: way == plain)[plain]["seconds"]
    return {"date": date.today().isoformat(), "device": results.device(), "small": small, "ways": run_really(name, fits)}


def table(found: dict[str, Any], counted: dict[str, Any]) -> str:
    """Bytes and seconds, counted or expected, and really taken, in Markdown."""
    lines = []
    for name, row in found.items():
        rows = counted[name]["fp32"]["ways"]
        speed = counted[SMALL]["fp32"]["ways"][next(iter(rows))]["operations"] / row["small"]
        for way, expected in rows.items():
            ran = row["ways"].get(way)
            taken = ["–", "–"] if ran is None else [f"{ran['bytes'] / GIB:.2f}", f"{ran['seconds']:.0f}"]
            gib, seconds = f"{expected['peak'] / GIB:.2f}", f"{expected['operations'] / speed:.0f}"
            lines.append([f"{name} ({row['date']}, {row['device']})", way, gib, taken[0], seconds, taken[1]])
    return results.markdown(
        ["model", "way", "GiB counted", "GiB taken by the process", "seconds expected", "seconds taken"], lines
    )


def main() -> None:
    """Command line. Results of other models are kept."""
    names, only_table = results.arguments(__doc__, [name for name in ARCHITECTURES if name != SMALL])
    counted = results.read("full_size")["counted"]
    found = results.read(NAME) if results.exists(NAME) else {}
    for name in names if not only_table else ():
        if counted[name]["fp32"]["weights"] + MARGIN > available():
            print(f"{name} does not fit into free memory.")
            continue
        logging.disable(logging.WARNING)
        began = time.monotonic()
        with torch.no_grad():
            found |= {name: run(name, counted[name]["fp32"])}
        results.write(NAME, found, time.monotonic() - began)
    print(results.heading(NAME))
    results.write_table(NAME, table(found, counted))


if __name__ == "__main__":
    main()
