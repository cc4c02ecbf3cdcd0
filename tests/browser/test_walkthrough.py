"""A long session from start to end: run, inspect, set a cut, save, lose the server, and continue with a new one."""

import os
import signal
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect

from comfy_page import FrontEnd, opened
from dev.bootstrap import ROOT
from dev.server import ComfyServer

EXAMPLE = ROOT / "example_workflows" / "overnight_batch.json"
GONE = "Queue again"


def prepare(front_end: FrontEnd) -> None:
    """Open the example with few steps and a fixed seed."""
    front_end.open(EXAMPLE)
    front_end.fix_seeds()
    front_end.node("UncertaintyKSampler").set("steps", 8)
    front_end.node("EmptyLatentImage").set("batch_size", 4)


def files(base: Path) -> list[Path]:
    """All saved images."""
    return sorted((base / "output").rglob("*.png"))


def test_a_night_and_the_morning_after(browser: Browser, tmp_path: Path) -> None:
    server = ComfyServer(base=tmp_path, log=tmp_path / "first.log")
    with server, opened(browser, server) as front_end:
        prepare(front_end)
        front_end.run()
        judge = front_end.node("UncertaintyScoreFilter")
        expect(judge.view.locator(".unc-card")).to_have_count(4)
        assert len(files(tmp_path)) == 4

        # A cut set by hand rejects the worst image, in the view at once and in the next run.
        judge.center()
        line = judge.view.get_by_role("slider", name="Cut between kept and rejected")
        for key in ("End", "ArrowLeft"):
            line.press(key)
        expect(judge.view.locator(".unc-card.unc-rejected")).to_have_count(1)
        expect(judge.view.get_by_role("status").last).to_contain_text("queue to apply")
        assert judge.values()["mode"] == "threshold"
        front_end.run()
        expect(judge.view.get_by_role("status").last).not_to_contain_text("queue to apply")
        expect(judge.view.locator(".unc-card.unc-rejected")).to_have_count(1)

        # The cut and the images are restored from the saved workflow and after the page is reloaded.
        saved = front_end.saved()
        front_end.load(saved)
        front_end.kept()
        front_end.reload()
        judge = front_end.node("UncertaintyScoreFilter")
        assert judge.values()["mode"] == "threshold"
        expect(judge.view.locator(".unc-card.unc-rejected")).to_have_count(1)

        # The server is killed; the next one starts with an empty temporary folder.
        os.killpg(server.process_id, signal.SIGKILL)
        server._process.wait()
        before = files(tmp_path)
        second = ComfyServer(port=server.port, base=tmp_path, log=tmp_path / "second.log")
        with second:
            front_end.server = second
            front_end.reload()
            judge = front_end.node("UncertaintyScoreFilter")
            judge.center()
            expect(judge.view).to_contain_text(GONE)
            assert files(tmp_path) == before

            # The ledger is intact and lists every file: each image was saved twice, those that the filter sorted out apart.
            panel = front_end.sidebar("Uncertainty")
            for state in ("Unreviewed 5", "Sorted out 3"):
                expect(panel.get_by_role("button", name=state)).to_be_visible()
            assert len(before) == 5 + 3
            front_end.photograph("morning-after")
            front_end.sidebar("Uncertainty")

            front_end.run()
            expect(judge.view.locator(".unc-card.unc-rejected")).to_have_count(1)
        assert front_end.complaints == []


def test_the_map_is_seen_while_it_samples(browser: Browser, server: ComfyServer) -> None:
    """Previews are off on this server, so the sampler's node shows the map alone during a run."""
    with opened(browser, server) as front_end:
        prepare(front_end)
        page = front_end.page
        connect = """() => {
            const { graph } = window.app;
            const options = window.LiteGraph.createNode("UncertaintyOptions");
            graph.add(options);
            options.widgets.find((each) => each.name === "live_preview").value = true;
            const sampler = graph.nodes.find((each) => each.type === "UncertaintyKSampler");
            options.connect(0, sampler, sampler.inputs.findIndex((each) => each.name === "options"));
            window.previews = 0;
            window.app.api.addEventListener("b_preview", () => window.previews++);
        }"""
        page.evaluate(connect)
        front_end.node("UncertaintyKSampler").set("seed", 77)
        front_end.run()
        seen: Any = page.evaluate("() => window.previews")
        assert seen >= 2
        assert front_end.complaints == []
