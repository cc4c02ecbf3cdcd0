"""``make pictures``: takes screenshots of the nodes for README and help pages while the example workflows run."""

import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageOps
from playwright.sync_api import sync_playwright

from .bootstrap import ROOT
from .chromium import find_chromium
from .server import NODES, ComfyServer

sys.path.append(str(ROOT / "tests" / "support"))
from comfy_page import PICTURES, FrontEnd, Node, opened

HELP = ROOT / "web" / "docs"
README = ROOT / "docs" / "pictures"
EXAMPLES = ROOT / "example_workflows"
QUALITY = 88
MARGIN = 24  # pixels around a whole workflow
# The examples, in order: a node is photographed in the first of them that contains it.
BEST = ("best_of_16", "first_steps", "repair_loop", "overnight_batch", "calibration", "custom_sampler_flux_style", "record_tiles")
IN = {"UncertaintyMapPreview": "first_steps"}  # there with several steps


@contextmanager
def page() -> Iterator[FrontEnd]:
    """The front-end of a new server with an empty ledger."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        base = Path(folder)
        with ComfyServer(base=base, log=base / "server.log") as server:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
            with opened(browser, server) as front_end:
                yield front_end
            browser.close()


def keep(name: str, folder: Path, scale: float = 1.0) -> None:
    """Write a screenshot as a JPEG file, atomically."""
    folder.mkdir(exist_ok=True)
    data = io.BytesIO()
    photograph = ImageOps.scale(Image.open(PICTURES / f"{name}.png").convert("RGB"), scale)
    photograph.save(data, "JPEG", quality=QUALITY, optimize=True)
    unfinished = folder / f"{name}.part"
    unfinished.write_bytes(data.getvalue())
    unfinished.replace(folder / f"{name}.jpg")


def shoot(front_end: FrontEnd, node: Node) -> None:
    """Take the screenshot of a node for its help page."""
    front_end.photograph(node.kind, of=node)
    keep(node.kind, HELP)


def examples(front_end: FrontEnd) -> set[str]:
    """Run the examples and take screenshots. Returns the nodes that were photographed."""
    done: set[str] = set()
    for name in BEST:
        front_end.open(EXAMPLES / f"{name}.json")
        for _ in range(3 if name == "overnight_batch" else 1):  # fills the ledger
            front_end.run()
        front_end.page.wait_for_timeout(2000)
        for node in front_end.nodes():
            if node.kind in NODES and node.kind not in done and IN.get(node.kind, name) == name:
                shoot(front_end, node)
                done.add(node.kind)
        if name == BEST[0]:
            overview(front_end, name)
    return done


def overview(front_end: FrontEnd, name: str) -> None:
    """Take a screenshot of the whole workflow, in a large window, because the canvas omits texts when it is zoomed out."""
    front_end.page.set_viewport_size({"width": 3800, "height": 2000})
    front_end.command("Comfy.Canvas.FitView")
    front_end.page.wait_for_timeout(1500)
    bounds = """() => {
        const { graph, canvas } = window.app;
        const boxes = [...graph.nodes, ...graph.groups].map((each) => [...each.boundingRect]);
        const start = [0, 1].map((axis) => Math.min(...boxes.map((box) => box[axis])));
        const end = [0, 1].map((axis) => Math.max(...boxes.map((box) => box[axis] + box[axis + 2])));
        return [...canvas.ds.convertOffsetToCanvas(start), ...canvas.ds.convertOffsetToCanvas(end)];
    }"""
    left, top, right, bottom = front_end.page.evaluate(bounds)
    clip = {"x": left - MARGIN, "y": top - MARGIN, "width": right - left + 2 * MARGIN, "height": bottom - top + 2 * MARGIN}
    front_end.page.screenshot(path=PICTURES / f"{name}.png", clip=clip)  # type: ignore[arg-type]
    keep(name, README, scale=0.6)
    front_end.page.set_viewport_size({"width": 1900, "height": 1100})


def alone(front_end: FrontEnd, kind: str) -> None:
    """Take the screenshot of a node that no example contains."""
    script = """(kind) => {
        const { graph } = window.app;
        graph.clear();
        graph.add(window.LiteGraph.createNode(kind));
    }"""
    front_end.page.evaluate(script, kind)
    shoot(front_end, front_end.node(kind))


def sidebar(front_end: FrontEnd) -> None:
    """Take a screenshot of the sidebar tab with the saved images and the map of the image under the pointer."""
    front_end.page.evaluate("() => window.app.graph.clear()")
    panel = front_end.sidebar("Uncertainty")
    front_end.page.wait_for_timeout(2500)
    panel.locator("img").nth(1).hover()
    front_end.page.wait_for_timeout(1000)
    front_end.photograph("sidebar", of=panel)
    keep("sidebar", README)


def culling(front_end: FrontEnd) -> None:
    """Take a screenshot of the culling view with two images side by side, on a fresh run of the first example."""
    front_end.open(EXAMPLES / f"{BEST[0]}.json")
    front_end.run()
    front_end.node("UncertaintyScoreFilter").center()
    page = front_end.page
    page.set_viewport_size({"width": 1500, "height": 900})
    for key in ("Shift+C", "4", "p", "c", "m"):
        page.keyboard.press(key)
        page.wait_for_timeout(500)
    front_end.photograph("culling")
    keep("culling", README, scale=0.7)
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1900, "height": 1100})


def library(front_end: FrontEnd) -> None:
    """Take screenshots of the library's own page, on a monitor and with an image open on a phone."""
    browser = front_end.page.context.browser
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    for name, screen in (("library", {"viewport": {"width": 1500, "height": 900}}), ("phone", phone)):
        context = browser.new_context(color_scheme="dark", **screen)  # type: ignore[union-attr, arg-type]
        page = context.new_page()
        page.goto(f"{front_end.server.url}/uncertainty")
        card = page.get_by_role("listbox", name="Images").get_by_role("option").first
        card.wait_for()
        if name == "phone":
            card.tap()
        page.wait_for_timeout(2500)
        page.screenshot(path=PICTURES / f"{name}.png")
        keep(name, README, scale=0.7)
        context.close()


def main() -> None:
    """Command line."""
    with page() as front_end:
        done = examples(front_end)
        culling(front_end)
        library(front_end)
        sidebar(front_end)
        for kind in NODES:
            if kind not in done:
                alone(front_end, kind)
    for path in [*sorted(README.iterdir()), *sorted(HELP.glob("*.jpg"))]:
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
