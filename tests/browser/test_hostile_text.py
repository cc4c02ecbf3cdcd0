"""Text from files and metadata reaches the page as text; none of it is executed."""

import json
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Browser, expect
from test_ledger_tab import BATCH, Tab, workflow

from comfy_page import FrontEnd, opened
from dev.client import make
from dev.server import ComfyServer
from made_maps import made
from uncertainty.storage import picture_entry
from uncertainty.storage.ledger import Ledger

HOSTILE = "<img src=x onerror=window.hacked=1>"


def test_a_hostile_ledger_and_prompt(browser: Browser, tmp_path: Path) -> None:
    with ComfyServer(base=tmp_path, log=tmp_path / "server.log") as server, opened(browser, server) as front_end:
        tab = Tab(front_end)
        fill(tmp_path)
        graph = workflow(1)
        graph["2"]["inputs"]["text"] = HOSTILE
        graph["6"]["inputs"]["filename_prefix"] = "night/saved"
        look = {"uncertainty": ["4", 1], "images": ["5", 0], "quantity": "denoised_variance"}
        rule = {"mode": "keep_best", "keep": 2, "percentile": 50.0, "threshold": 0.0, "reject": "highest"}
        rule |= {"window_start": 0.0, "window_end": 1.0, "when_none_pass": "block"}
        graph["7"] = make("UncertaintyScoreFilter", **look, **rule)
        graph["8"] = make("UncertaintyMapPreview", **look, step=-1, colormap="magma", opacity=0.6, normalize="image")
        front_end.page.evaluate("(graph) => window.app.loadApiJson(graph, 'night')", graph)
        front_end.fix_seeds()
        front_end.run()
        expect(tab.status).to_have_text(f"{BATCH + 2} images")
        assert len([name for name in tab.names() if name.startswith("<img src=x")]) == 2
        tab.cards.first.hover()
        expect(tab.cards.first.locator("img")).to_have_count(2)  # and its heatmap
        tab.cards.first.dblclick()
        culling = front_end.page.get_by_role("dialog", name="Recorded images")
        expect(culling).to_contain_text(HOSTILE)  # the prompt
        front_end.page.keyboard.press("End")
        expect(culling.get_by_role("status")).to_contain_text(f"{HOSTILE}_")  # the name of a file
        assert_nothing_ran(front_end)
        front_end.page.keyboard.press("Escape")
        expect(culling).to_have_count(0)
        tab.panel.get_by_text("Filters", exact=True).click()
        expect(tab.panel.get_by_label("Made with").locator("option", has_text=HOSTILE)).to_have_count(1)
        expect(tab.panel.get_by_label("Made with")).to_be_visible()
        front_end.photograph("hostile-text", tab.panel)
        assert_nothing_ran(front_end)


def assert_nothing_ran(front_end: FrontEnd) -> None:
    """Check that the text created no element and executed nothing."""
    assert front_end.page.evaluate("() => window.hacked") is None
    assert front_end.page.locator("img[src=x]").count() == 0


def fill(base: Path) -> None:
    """Save images whose names and settings are HTML, and record them in the ledger."""
    folder = base / "output" / HOSTILE
    folder.mkdir(parents=True)
    found = made(2, model=f"{HOSTILE} abc", sampler=HOSTILE, prompt=HOSTILE)
    names = []
    for image in range(2):
        about = PngInfo()
        about.add_text(picture_entry.ENTRY, picture_entry.entry(found, image))
        about.add_text("prompt", json.dumps({"1": {"class_type": HOSTILE, "inputs": {"text": HOSTILE}}}))
        name = f"{HOSTILE}_{image}.png"
        Image.new("RGB", (64, 64), "red").save(folder / name, pnginfo=about)
        names.append(f"{HOSTILE}/{name}")
    Ledger(base / "user" / "uncertainty" / "ledger.sqlite3").record(found, names)
