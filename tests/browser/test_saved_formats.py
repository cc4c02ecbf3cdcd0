"""Files of every format, dropped on the canvas as from a folder: ComfyUI opens the workflow where it can read it."""

import base64
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from comfy_page import FrontEnd
from dev.client import make
from uncertainty.storage import picture_entry

STEPS = 4
FORMATS = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}
READ = ("png", "webp")
DROP = """([content, name, type]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes], name, { type }));
    const canvas = window.app.canvas.canvas;
    const event = { dataTransfer: carried, bubbles: true, cancelable: true, clientX: 500, clientY: 400 };
    for (const kind of ["dragenter", "dragover", "drop"])
        canvas.dispatchEvent(new DragEvent(kind, event));
}"""


def workflow(folder: str) -> dict:
    """Sample two images and save them in each format."""
    sampling = {"seed": 3, "steps": STEPS, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    measuring = {"samples": 2, "strength": 0.0, "percentile": 95.0, "window_start": 0.4, "window_end": 0.9}
    wires = {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}
    saved = {"images": ["5", 0], "uncertainty": ["4", 1]}
    return {
        "1": make("UncertaintyDemoModel", family="noise prediction", checkpoint="demo model"),
        "2": make("CLIPTextEncode", text="cat face", clip=["1", 1]),
        "3": make("EmptyLatentImage", width=256, height=256, batch_size=2),
        "4": make("UncertaintyKSampler", **sampling, **measuring, **wires),
        "5": make("VAEDecode", samples=["4", 0], vae=["1", 2]),
        **{kind: make("UncertaintySaveImage", **saved, filename_prefix=f"{folder}/{kind}", format=kind) for kind in FORMATS},
    }


def drop(front_end: FrontEnd, path: Path, kind: str) -> None:
    """Drop a file on the empty canvas."""
    front_end.page.evaluate("() => window.app.graph.clear()")
    content = base64.b64encode(path.read_bytes()).decode()
    front_end.page.evaluate(DROP, [content, path.name, FORMATS[kind]])


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_a_saved_file_opens_its_workflow(each_front_end: FrontEnd, request: pytest.FixtureRequest) -> None:
    front_end, page = each_front_end, each_front_end.page
    folder = f"formats {request.node.callspec.id}"
    graph = {str(number): node for number, node in enumerate(workflow(folder).values(), start=1)}
    page.evaluate("(graph) => window.app.loadApiJson(graph, 'formats')", graph)
    front_end.fix_seeds()
    front_end.run()
    saved = {kind: sorted((front_end.server.base / "output" / folder).glob(f"{kind}_*")) for kind in FORMATS}
    scores = {kind: [picture_entry.read(path).scores for path in paths] for kind, paths in saved.items()}  # type: ignore[union-attr]
    assert scores["png"] == scores["webp"] == scores["jpeg"] and len(scores["png"]) == 2

    for kind in READ:
        for path in saved[kind]:
            drop(front_end, path, kind)
            page.wait_for_function("(count) => window.app.graph.nodes.length === count", arg=len(graph))
            assert front_end.node("EmptyLatentImage").values()["batch_size"] == 2
            assert sorted(node.values()["format"] for node in front_end.nodes("UncertaintySaveImage")) == sorted(FORMATS)
            # Lies over the page while a file is read. Two of them at a time, and the first stays for ever.
            expect(page.locator(".p-blockui-mask")).to_have_count(0)

    # ComfyUI reads no workflow from JPEG files; the sidebar says so.
    page.evaluate("() => window.app.graph.clear()")
    panel = front_end.sidebar("Uncertainty")
    card = panel.get_by_role("option", name=re.compile(r"jpeg_0000\d_\.jpg")).first
    card.click(button="right")
    page.get_by_role("menuitem", name="Open workflow").click()
    expect(panel.get_by_text("ComfyUI reads none from JPEG files: save as PNG or WebP.")).to_be_visible()
    assert front_end.nodes() == []
    front_end.sidebar("Uncertainty")
    assert front_end.complaints == []
