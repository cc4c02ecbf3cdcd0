"""Whether the culling view keeps up with the keys: 300 saved images from the first key to the last verdict.

``python -m benchmarks.culling``. The images are PNG files of 1024 × 1024 pixels in a real ledger. A key comes every ``PACE_MS``;
the time between two frames of the browser is recorded throughout, once in ComfyUI's sidebar and once on the library's own page.
"""

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from dev.bootstrap import ROOT
from dev.chromium import find_chromium
from dev.server import ComfyServer
from uncertainty.storage.ledger import LOCATION, Ledger
from uncertainty.storage.picture_entry import content

from . import results

sys.path.append(str(ROOT / "tests" / "support"))
from comfy_page import opened
from made_maps import made

NAME = "culling"
PLACES = ("sidebar", "page")
IMAGES, SIDE = 300, 1024
PACE_MS, LONG_MS = 100, 50
KEYS = "px35"
WATCH = """() => {
    window.frames_ms = [];
    let last = performance.now();
    const next = (now) => { window.frames_ms.push(now - last); last = now; window.watching = requestAnimationFrame(next); };
    window.watching = requestAnimationFrame(next);
}"""
STOP = "() => { cancelAnimationFrame(window.watching); return window.frames_ms.slice(2); }"


def fill(base: Path) -> None:
    """Save the images and record them."""
    folder = base / "output" / "many"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(1)
    names = [f"many/{number:03}.png" for number in range(IMAGES)]
    for name in names:
        coarse = Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize(
            (SIDE, SIDE), Image.Resampling.BICUBIC
        )
        grainy = np.asarray(coarse, np.float32) / 255 + generator.normal(0, 0.02, (SIDE, SIDE, 1)).astype(np.float32)
        (base / "output" / name).write_bytes(content(torch.from_numpy(grainy.clip(0, 1)), {}))
    Ledger(base / "user" / LOCATION, base / "output").record(made(IMAGES), names, prompt="many things")


def cull(page: Page) -> list[float]:
    """Open the first image and decide on all by keyboard; returns the times between frames in milliseconds."""
    page.get_by_role("listbox", name="Images").focus()
    page.keyboard.press("ArrowRight")
    page.evaluate(WATCH)
    page.keyboard.press("Enter")
    status = page.get_by_role("dialog", name="Recorded images").get_by_role("status")
    status.wait_for()
    for number, key in zip(range(1, IMAGES), itertools.cycle(KEYS)):
        page.keyboard.press(key)
        page.wait_for_timeout(PACE_MS)
        if number % 50 == 0 and f"{number + 1} of" not in status.inner_text():
            raise RuntimeError(f"after {number} keys the view shows: {status.inner_text()}")
    page.keyboard.press("p")
    page.wait_for_timeout(PACE_MS)
    frames: list[float] = page.evaluate(STOP)
    return frames


def measure(places: Sequence[str]) -> dict[str, Any]:
    """Frames in each place, with images of its own."""
    measured = {}
    for place in places:
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
            base = Path(folder)
            fill(base)
            with ComfyServer(base=base, log=base / "server.log") as server:
                browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
                with opened(browser, server) as front_end:
                    page = front_end.page
                    if place == "sidebar":
                        front_end.sidebar("Uncertainty")
                    else:
                        page.goto(f"{server.url}/uncertainty")
                    page.get_by_role("listbox", name="Images").get_by_role("option").first.wait_for()
                    page.wait_for_timeout(2000)
                    measured[place] = cull(page)
                browser.close()
    return measured


def table(measured: dict[str, list[float]]) -> str:
    """The frames in numbers."""
    lines = [
        [
            place,
            str(len(frames)),
            f"{statistics.median(frames):.0f}",
            f"{sorted(frames)[int(0.99 * len(frames))]:.0f}",
            f"{max(frames):.0f}",
            str(sum(frame > LONG_MS for frame in frames)),
        ]
        for place, frames in measured.items()
    ]
    return results.markdown(["where", "frames", "median, ms", "99 %, ms", "longest, ms", f"over {LONG_MS} ms"], lines)


def main() -> None:
    """Command line."""
    places, only_table = results.arguments(__doc__, PLACES)
    if not only_table:
        start = time.perf_counter()
        results.write(NAME, measure(places), time.perf_counter() - start)
    results.write_table(NAME, table(results.read(NAME)))


if __name__ == "__main__":
    main()
