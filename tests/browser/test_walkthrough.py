"""A night and the morning after, as a person lives through them: queue, look, cut, save, a server that dies, and go on."""

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
    """The example, sampled briefly and with a fixed seed."""
    front_end.open(EXAMPLE)
    front_end.fix_seeds()
    front_end.node("UncertaintyKSampler").set("steps", 8)
    front_end.node("EmptyLatentImage").set("batch_size", 4)


def files(base: Path) -> list[Path]:
    """What was saved."""
    return sorted((base / "output").rglob("*.png"))


def test_a_night_and_the_morning_after(browser: Browser, tmp_path: Path) -> None:
    server = ComfyServer(base=tmp_path, log=tmp_path / "first.log")
    with server, opened(browser, server) as front_end:
        prepare(front_end)
        front_end.run()
        judge = front_end.node("UncertaintyScoreFilter")
        expect(judge.view.locator(".unc-card")).to_have_count(4)
        assert len(files(tmp_path)) == 4

        # A cut by hand: the worst alone is rejected, in the view at once and in the next run.
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

        # Exported, opened again, and the page loaded anew: the cut and what was seen are still there.
        saved = front_end.saved()
        front_end.load(saved)
        front_end.kept()
        front_end.reload()
        judge = front_end.node("UncertaintyScoreFilter")
        assert judge.values()["mode"] == "threshold"
        expect(judge.view.locator(".unc-card.unc-rejected")).to_have_count(1)

        # The server dies, with everything it had in its temporary folder.
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

            # The ledger is whole: four images, although they were saved twice.
            panel = front_end.sidebar("Uncertainty")
            expect(panel.get_by_role("region", name="Uncertainty")).to_contain_text("4 images")
            front_end.photograph("morning-after")
            front_end.sidebar("Uncertainty")

            front_end.run()
            expect(judge.view.locator(".unc-card.unc-rejected")).to_have_count(1)
        assert front_end.complaints == []


def test_the_map_is_seen_while_it_samples(browser: Browser, server: ComfyServer) -> None:
    """Previews are off on this server: what the sampler's node shows during a run is the map alone."""
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
