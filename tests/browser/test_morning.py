"""What the pack is for: five prompts by night, and a morning in which the best image of each is chosen, rated and redrawn."""

import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect
from test_library_page import PHONE, library_page, photograph

from comfy_page import FRONT_ENDS, FrontEnd, opened
from dev.bootstrap import BUNDLED, ROOT, comfyui
from dev.front_end import newer_front_end
from dev.server import ComfyServer
from thumb import touching
from xmp import rating

EXAMPLE = ROOT / "example_workflows" / "overnight_batch.json"
PROMPTS = ["cat face", "rocket", "penguin", "bus", "hedgehog"]
BATCH, STEPS = 4, 8


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_a_morning(name: str, browser: Browser, tmp_path: Path) -> None:
    server, vue = FRONT_ENDS[name]
    newer = server == "newer_server"
    if newer and comfyui() != BUNDLED:
        pytest.skip("another ComfyUI brings its own front-end, which may be newer yet")
    first = ComfyServer(base=tmp_path, log=tmp_path / "night.log", front_end=newer_front_end() if newer else None)
    with first, opened(browser, first, vue) as front_end:
        night(front_end)
        front_end.reload()
        chosen(front_end, name)
        library = Morning(front_end)
        library.rate(name)
        library.redraw_two()
        front_end.kept()

        # The server is killed, and another one started in its place.
        os.killpg(first.process_id, signal.SIGKILL)
        first._process.wait()
        second = ComfyServer(port=first.port, base=tmp_path, log=tmp_path / "morning.log", front_end=first.front_end)
        with second:
            front_end.server = second
            front_end.reload()
            again = Morning(front_end)
            expect(again.panel.get_by_role("button", name="Kept 4")).to_be_visible()
            expect(again.cards.filter(has_text="★★★★★")).to_have_count(1)
            assert front_end.node("UncertaintyScoreFilter").values()["by_hand"].startswith('{"keep":["')
            on_the_phone(browser, second, name)
        # Other programs see the stars and the verdict in the files; the two images redrawn have none yet.
        assert sorted(rating(file) or "none" for file in saved(tmp_path, "kept")) == ["-1", "2", "3", "4", "5", "none", "none"]
        # While there was no server, the page could load nothing.
        assert [said for said in front_end.complaints if "net::ERR_CONNECTION_" not in said] == []


def saved(base: Path, kind: str) -> list[Path]:
    """The files of the kept images, or of those that were sorted out."""
    return sorted((base / "output" / "overnight").glob(f"{kind}_*.png"))


def until_saved(front_end: FrontEnd, kind: str, count: int) -> None:
    """Wait until so many are there."""
    front_end.until(lambda: len(saved(front_end.server.base, kind)) == count)


def night(front_end: FrontEnd) -> None:
    """Queue a batch of each prompt. The filter lets nothing through before somebody chose."""
    front_end.open(EXAMPLE)
    front_end.node("UncertaintyKSampler").set("steps", STEPS)
    front_end.node("EmptyLatentImage").set("batch_size", BATCH)
    front_end.node("UncertaintyScoreFilter").set("mode", "choose")
    for prompt in PROMPTS:
        front_end.node("CLIPTextEncode").set("text", prompt)
        front_end.run()
    front_end.kept()


def chosen(front_end: FrontEnd, name: str) -> None:
    """Choose the best of each prompt in the culling view, by keyboard, and send it on: the oldest run comes first."""
    page = front_end.page
    for count, _ in enumerate(PROMPTS, start=1):
        judge = front_end.node("UncertaintyScoreFilter")
        judge.center()
        choice = judge.view.get_by_role("group", name="Choice")
        if left := len(PROMPTS) - count:
            expect(choice).to_contain_text(f"{left} more run")
        if count == 1:
            front_end.photograph(f"morning-{name}-waiting", judge)
            judge.center()
        judge.view.locator(".unc-card").first.focus()
        page.keyboard.press("Shift+C")
        culling = page.get_by_role("dialog", name="Images, best first")
        expect(culling).to_be_visible()
        page.keyboard.press("p")
        expect(culling.get_by_role("status")).to_contain_text(f"2 of {BATCH}")
        if count == 1:
            front_end.photograph(f"morning-{name}-culling")
        page.keyboard.press("Escape")
        expect(culling).to_have_count(0)
        choice.get_by_role("button", name="Send 1", exact=True).click()
        until_saved(front_end, "kept", count)
        until_saved(front_end, "sorted_out", count * (BATCH - 1))


class Morning:
    """The sidebar."""

    def __init__(self, front_end: FrontEnd) -> None:
        self.front_end = front_end
        self.page = front_end.page
        self.panel = front_end.sidebar("Uncertainty")
        self.grid = self.panel.get_by_role("listbox", name="Images")

    @property
    def cards(self) -> Locator:
        """The images listed."""
        return self.grid.get_by_role("option")

    def idle(self) -> bool:
        """Whether ComfyUI has nothing to do."""
        queue = self.page.request.get(f"{self.front_end.server.url}/queue").json()
        return not queue["queue_running"] and not queue["queue_pending"]

    def ended_runs(self) -> int:
        """How many runs are in the server's history."""
        return len(self.page.request.get(f"{self.front_end.server.url}/history").json())

    def rate(self, name: str) -> None:
        """Five images, one of each prompt: they get one to five stars, and the worst is rejected."""
        expect(self.cards).to_have_count(len(PROMPTS))
        self.panel.get_by_label("Order").select_option(label="By prompt, oldest first")
        expect(self.grid.locator(".unc-ledger-section")).to_have_text([re.compile(prompt) for prompt in PROMPTS])
        self.front_end.photograph(f"morning-{name}-sidebar")
        self.grid.focus()
        self.page.keyboard.press("ArrowRight")
        self.page.keyboard.press("Enter")
        culling = self.page.get_by_role("dialog", name="Recorded images")
        for stars, prompt in enumerate(PROMPTS, start=1):
            expect(culling).to_contain_text(prompt)
            self.page.keyboard.press(str(stars))
        self.page.keyboard.press("Home")
        expect(culling.get_by_role("status")).to_contain_text("★")
        self.page.keyboard.press("x")
        for _ in PROMPTS[1:]:
            self.page.keyboard.press("p")
        expect(culling.get_by_role("status")).to_contain_text("✓ kept by hand")
        self.page.keyboard.press("Escape")
        for state, count in (("Kept", 4), ("Rejected", 1), ("Sorted out", 15)):
            expect(self.panel.get_by_role("button", name=f"{state} {count}")).to_be_visible()

    def redraw_two(self) -> None:
        """The two best are drawn once more, each alone. Their workflow is open then, and waits for the choice of them alone."""
        for number, stars in enumerate(("★★★★★", "★★★★"), start=1):
            best = self.cards.filter(has_text=re.compile(rf"(^|[^★]){stars}([^★]|$)")).first
            self.front_end.until(self.idle)
            before = self.ended_runs()
            best.click(button="right")
            self.page.get_by_role("menuitem", name="Redraw just this one").click()
            # Until then the view may show what the workflow had when it was saved.
            self.front_end.until(lambda before=before: self.ended_runs() > before)
            self.front_end.until(lambda: self.front_end.node("UncertaintyScoreFilter").view.locator(".unc-card").count() == 1)
            judge = self.front_end.node("UncertaintyScoreFilter")
            judge.center()
            judge.view.locator(".unc-card").click()
            judge.view.get_by_role("button", name="Send 1", exact=True).click()
            until_saved(self.front_end, "kept", len(PROMPTS) + number)


def on_the_phone(browser: Browser, server: ComfyServer, name: str) -> None:
    """The same list on a phone: a tap opens an image, a tap on a star rates it."""
    phone = {"viewport": PHONE, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    with library_page(browser, server, **phone) as (page, library), touching(page) as thumb:
        best = library.cards.filter(has_text="★★★★★")
        expect(best).to_have_count(1)
        thumb.tap(best)
        culling = page.get_by_role("dialog", name="Recorded images")
        expect(culling.get_by_role("status")).to_contain_text("★★★★★")
        photograph(page, f"morning-{name}-phone")
        page.keyboard.press("Escape")
        expect(culling).to_have_count(0)
