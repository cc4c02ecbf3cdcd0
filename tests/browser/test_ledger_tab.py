"""The sidebar tab on a real ledger filled by real runs: images by score, heatmaps, rejecting and undo."""

import re
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat
from playwright.sync_api import APIResponse, Browser, Locator, Route, expect

from comfy_page import FrontEnd, opened
from dev.client import make
from dev.server import ComfyServer
from made_maps import made
from uncertainty.quantities import DEFAULT_QUANTITY
from uncertainty.storage import picture_entry
from uncertainty.storage.ledger import Ledger
from xmp import rating

BATCH = 6
# Notes the address of each answer of the server, when the page has done with its JSON what it does at once.
WATCH_ANSWERS = """() => {
    const { json } = Response.prototype;
    window.answered = [];
    Response.prototype.json = function () {
        const found = json.call(this);
        found.finally(() => setTimeout(() => window.answered.push(this.url)));
        return found;
    };
}"""
STEPS = 5  # used by no other test, to distinguish these images from others on the same server


def workflow(seed: int, steps: int = STEPS) -> dict:
    """Sample a batch and save it with its scores."""
    sampling = {"seed": seed, "steps": steps, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    measuring = {"samples": 2, "strength": 0.0, "percentile": 95.0, "window_start": 0.4, "window_end": 0.9}
    wires = {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}
    return {
        "1": make("UncertaintyDemoModel", family="noise prediction", checkpoint="demo model"),
        "2": make("CLIPTextEncode", text="cat face", clip=["1", 1]),
        "3": make("EmptyLatentImage", width=256, height=256, batch_size=BATCH),
        "4": make("UncertaintyKSampler", **sampling, **measuring, **wires),
        "5": make("VAEDecode", samples=["4", 0], vae=["1", 2]),
        "6": make("UncertaintySaveImage", images=["5", 0], uncertainty=["4", 1], filename_prefix=f"night {steps}/image"),
    }


class Tab:
    """The sidebar tab, opened."""

    def __init__(self, front_end: FrontEnd) -> None:
        self.front_end = front_end
        panel = front_end.sidebar("Uncertainty")
        self.status = panel.locator("header [role=status]")
        self.grid = panel.get_by_role("listbox", name="Images")
        self.cards = self.grid.get_by_role("option")
        self.panel = panel

    def queue(self, seed: int, steps: int = STEPS) -> None:
        """Run the workflow with another seed."""
        self.front_end.page.evaluate("(graph) => window.app.loadApiJson(graph, 'night')", workflow(seed, steps))
        self.front_end.fix_seeds()
        self.front_end.run()

    def names(self) -> list[str]:
        """File names of the cards, in the order shown."""
        labels = self.cards.evaluate_all("(cards) => cards.map((card) => card.getAttribute('aria-label').split(', ')[0])")
        return [label.rpartition("/")[2] for label in labels]

    def press(self, name: str) -> None:
        self.panel.get_by_role("button", name=name, exact=True).click()

    def show(self, *states: str) -> None:
        """Show only images in these states."""
        group = self.panel.get_by_role("group", name="Images to show")
        for state in ("Unreviewed", "Kept", "Rejected", "Sorted out"):
            button = group.get_by_role("button", name=re.compile(f"^{state} "))
            if (button.get_attribute("aria-pressed") == "true") != (state in states):
                button.click()

    def command(self, name: str) -> None:
        """Choose from the menu of the first image."""
        self.cards.first.click(button="right")
        self.front_end.page.get_by_role("menuitem", name=name).click()

    def narrow(self, steps: int = STEPS) -> None:
        """Show only this test's images."""
        if not self.panel.locator("details").evaluate("(details) => details.open"):
            self.panel.locator("summary").click()
        choice = self.panel.get_by_label("Made with")
        mine = choice.locator("option", has_text=f", {steps} steps").first
        choice.select_option(mine.get_attribute("value"))


def scores_of(folder: Path) -> dict[str, float]:
    """Scores by file name, from the files' metadata."""
    return {path.name: picture_entry.read(path).scores[DEFAULT_QUANTITY][0] for path in folder.glob("*.png")}  # type: ignore[union-attr]


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_images_are_listed_looked_at_and_culled(each_front_end: FrontEnd) -> None:
    page, server = each_front_end.page, each_front_end.server
    folder = server.base / "output" / f"night {STEPS}"
    tab = Tab(each_front_end)
    tab.queue(1)
    tab.narrow()
    expect(tab.status).to_have_text(f"{BATCH} images")  # updated by itself after the run
    tab.panel.get_by_label("Order").select_option(label="Highest score")
    scores = scores_of(folder)
    worst_first = sorted(scores, key=scores.__getitem__, reverse=True)
    expect(tab.cards.first).to_have_attribute("aria-label", re.compile(re.escape(worst_first[0])))
    assert tab.names() == worst_first
    for name, shown in zip(worst_first, tab.cards.locator("b").all_inner_texts(), strict=True):
        assert float(shown.split(" ± ")[0]) == pytest.approx(scores[name], rel=0.02)
    expect(tab.cards.nth(1)).to_contain_text(f"{BATCH - 1}th of only {BATCH} · cat face")
    tab.panel.get_by_label("Ranks").select_option(label="Across prompts: mixes easy and difficult ones")
    expect(tab.cards.nth(1)).to_contain_text(f"{BATCH - 1}th of only {BATCH} · all prompts")
    tab.panel.get_by_label("Ranks").select_option(label="Within each prompt")

    search = tab.panel.get_by_label("Search prompt, seed or model")
    search.fill("rocket")
    expect(tab.panel).to_contain_text("No images match these filters")
    search.fill("Cat")
    expect(tab.status).to_have_text(f"{BATCH} images")
    tab.panel.get_by_label("Order").select_option(label="By prompt, newest first")
    expect(tab.grid.locator(".unc-ledger-section")).to_have_text("cat face")
    expect(tab.cards.last).to_have_attribute("aria-label", re.compile(re.escape(worst_first[0])))  # the surest is first
    tab.panel.get_by_label("Order").select_option(label="Highest score")
    expect(tab.cards.first).to_have_attribute("aria-label", re.compile(re.escape(worst_first[0])))

    # While the pointer is over a card, the heatmap covers the picture exactly.
    tab.cards.nth(1).hover()
    pictures = tab.cards.nth(1).locator("img")
    expect(pictures).to_have_count(2)
    page.wait_for_function("(heat) => heat.complete && heat.naturalWidth > 0", arg=pictures.nth(1).element_handle())
    assert pictures.nth(0).bounding_box() == pictures.nth(1).bounding_box()
    each_front_end.photograph(f"ledger-tab-{'nodes2' if each_front_end.vue else 'canvas'}", tab.panel)

    # Keys of the tab do not reach the canvas.
    page.mouse.move(1200, 600)
    tab.cards.nth(0).click()
    page.keyboard.press("Shift+ArrowRight")
    expect(tab.status).to_have_text(f"2 of {BATCH} selected")
    page.keyboard.press("Control+a")
    expect(tab.status).to_have_text(f"{BATCH} of {BATCH} selected")
    assert page.evaluate("() => window.app.canvas.selectedItems.size") == 0
    page.keyboard.press("Escape")
    expect(tab.status).to_have_text(f"{BATCH} images")

    page.keyboard.press("Enter")
    culling = page.get_by_role("dialog", name="Recorded images")
    expect(culling).to_contain_text(worst_first[1])
    expect(culling).to_contain_text("cat face")
    # What could not be stored is said in the view, which hides the list's message.
    page.route("**/uncertainty/ledger/judge", lambda route: route.abort(), times=1)
    page.keyboard.press("x")
    expect(culling.get_by_role("status")).to_contain_text(f"{worst_first[1]}: The server does not respond.")
    assert "net::ERR_FAILED" in each_front_end.complaints.pop()
    page.keyboard.press("ArrowLeft")
    expect(culling.get_by_role("button", name="Reject it and go on")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("ArrowRight")
    expect(culling).to_contain_text(worst_first[2])
    heat = culling.locator(".unc-culling-heat img")
    expect(heat).to_have_count(0)
    page.keyboard.press("m")
    page.wait_for_function("(heat) => heat.complete && heat.naturalWidth > 0", arg=heat.element_handle())
    each_front_end.photograph(f"ledger-culling-{'nodes2' if each_front_end.vue else 'canvas'}")
    page.keyboard.press("m")
    expect(heat).to_have_count(0)
    page.keyboard.press("3")  # goes on
    expect(culling).to_contain_text(worst_first[3])
    page.keyboard.press("ArrowLeft")
    expect(culling.get_by_role("button", name="3 stars, and go on")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("p")
    page.keyboard.press("ArrowLeft")
    expect(culling.get_by_role("button", name="Keep it and go on")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("u")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("0")
    page.keyboard.press("ArrowLeft")
    expect(culling.get_by_role("button", name="No stars, and go on")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(culling).to_have_count(0)
    expect(tab.grid).to_be_focused()
    tab.press("Close this message")

    # A list that was read before a verdict does not take it back, even if it arrives before the server knows the verdict.
    late: list[tuple[Route, APIResponse]] = []
    verdict: list[Route] = []
    page.route("**/uncertainty/ledger?*", lambda route: late.append((route, route.fetch())), times=1)
    page.evaluate("() => window.app.api.dispatchCustomEvent('execution_success', { prompt_id: 'none' })")
    each_front_end.until(lambda: late)
    page.route("**/uncertainty/ledger/judge", lambda route: verdict.append(route))
    tab.cards.nth(2).click()
    page.keyboard.press("2")
    expect(tab.cards.nth(2)).to_contain_text("★★")
    each_front_end.until(lambda: verdict)
    page.evaluate(WATCH_ANSWERS)
    route, answer = late[0]
    route.fulfill(response=answer)
    page.wait_for_function("() => window.answered.some((url) => url.includes('/uncertainty/ledger?'))")
    assert "★★" in tab.cards.nth(2).inner_text()
    verdict[0].continue_()
    page.unroute("**/uncertainty/ledger/judge")
    page.wait_for_function("() => window.answered.filter((url) => url.includes('/uncertainty/ledger?')).length === 2")
    assert "★★" in tab.cards.nth(2).inner_text()
    page.keyboard.press("0")
    expect(tab.cards.nth(2)).not_to_contain_text("★")

    # Keys say what becomes of an image; the file says it too, as other programs read it.
    first = folder / worst_first[0]
    before = first.read_bytes()
    tab.cards.nth(0).click()
    page.keyboard.press("x")
    page.keyboard.press("4")
    expect(tab.cards.nth(0)).to_have_attribute("data-state", "rejected")
    expect(tab.cards.nth(0)).to_contain_text("★★★★")
    tab.cards.nth(1).click()
    tab.press("✓ Keep")
    each_front_end.photograph(f"ledger-tab-verdicts-{'nodes2' if each_front_end.vue else 'canvas'}", tab.panel)
    tab.show("Rejected")
    expect(tab.status).to_have_text("1 image")
    assert rating(first) == "-1"
    expect(tab.panel.get_by_role("button", name="Kept 1")).to_be_visible()
    tab.cards.nth(0).click()
    page.keyboard.press("u")
    expect(tab.cards.nth(0)).to_have_attribute("data-state", "unreviewed")
    tab.show("Unreviewed", "Kept")
    expect(tab.status).to_have_text(f"{BATCH} images")
    assert rating(first) == "4"
    tab.cards.nth(0).click()
    tab.press("4 stars")
    expect(tab.cards.nth(0)).not_to_contain_text("★")
    tab.show("Unreviewed")
    expect(tab.status).to_have_text(f"{BATCH - 1} images")
    assert first.read_bytes() == before
    tab.show("Unreviewed", "Kept")
    expect(tab.status).to_have_text(f"{BATCH} images")

    # Rejecting, undo, and files that cannot be moved are listed.
    tab.cards.nth(0).click()
    tab.cards.nth(1).click(modifiers=["Shift"])
    tab.press("Move 2 to rejected")
    expect(tab.status).to_have_text(f"{BATCH - 2} images")
    assert {path.name for path in (folder / "rejected").glob("*.png")} == set(worst_first[:2])
    assert tab.names() == worst_first[2:]
    tab.press("Undo")
    expect(tab.status).to_have_text(f"{BATCH} images")
    assert set(scores_of(folder)) == set(scores)
    assert tab.names() == worst_first

    between = (scores[worst_first[2]] + scores[worst_first[3]]) / 2
    tab.panel.get_by_label("Score from").fill(str(between))
    page.keyboard.press("Tab")
    expect(tab.status).to_have_text("3 images")
    (folder / worst_first[1]).unlink()
    tab.press("Select all")
    tab.press("Move 3 to rejected")
    expect(tab.panel).to_contain_text("Moved to rejected: 2 images, not moved: 1")
    expect(tab.panel.locator("li")).to_have_text(re.compile(re.escape(worst_first[1])))
    tab.show("Rejected")
    expect(tab.status).to_have_text("2 images")
    tab.press("Select all")
    tab.press("Restore 2")
    expect(tab.status).to_have_text("0 images")
    assert set(scores_of(folder)) == set(scores) - {worst_first[1]}

    # The image whose file is gone is taken off the list in one click, and comes back in another.
    tab.show("Unreviewed", "Kept")
    expect(tab.panel).to_contain_text("The file of 1 image is gone.")
    tab.press("Remove from the list")
    expect(tab.status).to_have_text("2 images")
    tab.press("Undo")
    expect(tab.status).to_have_text("3 images")
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_a_menu_and_dragging_bring_images_back_to_the_canvas(each_front_end: FrontEnd) -> None:
    page, steps = each_front_end.page, 6
    folder = each_front_end.server.base / "output" / f"night {steps}"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab = Tab(each_front_end)
    tab.queue(1, steps)
    tab.narrow(steps)
    expect(tab.status).to_have_text(f"{BATCH} images")
    each_front_end.photograph(f"ledger-tab-{'nodes2' if each_front_end.vue else 'canvas'}-list", tab.panel)

    tab.cards.first.click(button="right")
    menu = page.get_by_role("menu", name="Selected images")
    commands = ["Open workflow", "Redraw just this one", "Copy prompt", "Remove from the list"]
    expect(menu.get_by_role("menuitem")).to_have_text(commands)
    expect(menu.get_by_role("menuitem").first).to_be_focused()
    each_front_end.photograph(f"ledger-menu-{'nodes2' if each_front_end.vue else 'canvas'}", menu)
    page.keyboard.press("ArrowUp")
    expect(menu.get_by_role("menuitem").last).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    tab.command("Copy prompt")
    page.wait_for_function("async () => (await navigator.clipboard.readText()) === 'cat face'")
    tab.command("Remove from the list")
    expect(tab.status).to_have_text(f"{BATCH - 1} images")
    tab.press("Undo")
    expect(tab.status).to_have_text(f"{BATCH} images")

    # Dragged onto the canvas, an image is loaded; with Alt, its workflow is opened.
    page.evaluate("() => window.app.graph.clear()")
    canvas, place = page.locator("#graph-canvas"), {"x": 900, "y": 400}
    label = tab.cards.first.get_attribute("aria-label") or ""
    tab.cards.first.drag_to(canvas, target_position=place)  # type: ignore[arg-type]
    page.wait_for_function("() => window.app.graph.nodes.length === 1")
    loaded = page.evaluate("() => [window.app.graph.nodes[0].type, window.app.graph.nodes[0].widgets[0].value]")
    assert loaded == ["LoadImage", f"{label.split(', ')[0]} [output]"]
    page.evaluate("() => window.app.graph.clear()")
    page.keyboard.down("Alt")
    tab.cards.first.drag_to(canvas, target_position=place)  # type: ignore[arg-type]
    page.keyboard.up("Alt")
    page.wait_for_function("() => window.app.graph.nodes.length === 6")
    page.evaluate("() => window.app.graph.clear()")
    tab.command("Open workflow")
    page.wait_for_function("() => window.app.graph.nodes.length === 6")

    # The image of its place in the batch is drawn again, alone.
    before = {path.name for path in folder.glob("*.png")}
    drawn = folder / label.split(", ")[0].rpartition("/")[2]
    tab.command("Redraw just this one")
    expect(tab.status).to_have_text(f"1 of {BATCH + 1} selected")
    (again,) = [path for path in folder.glob("*.png") if path.name not in before]
    one, other = picture_entry.read(again), picture_entry.read(drawn)
    assert one is not None and other is not None and (one.place, one.seed) == (other.place, other.seed)
    with Image.open(again) as first, Image.open(drawn) as second:
        assert ImageStat.Stat(ImageChops.difference(first, second)).mean == pytest.approx([0, 0, 0], abs=1)
    assert each_front_end.complaints == []


def in_sight(grid: Locator) -> tuple[str, float]:
    """Id of the first card that is fully visible, and its distance from the top of the grid."""
    found: list = grid.evaluate(
        """(grid) => {
            const edge = grid.getBoundingClientRect().top;
            const cards = [...grid.querySelectorAll("[role=option]")];
            return cards.map((card) => [card.id, card.getBoundingClientRect().top - edge]).find(([, top]) => top >= 0);
        }"""
    )
    return found[0], found[1]


def test_many_rows_stay_few_cards_and_places_are_kept(browser: Browser, tmp_path: Path) -> None:
    with ComfyServer(base=tmp_path, log=tmp_path / "server.log") as server, opened(browser, server) as front_end:
        page = front_end.page
        tab = Tab(front_end)
        expect(tab.panel).to_contain_text("Save Image (Uncertainty)")  # the empty tab says how images are recorded
        front_end.photograph("ledger-tab-empty", tab.panel)

        ledger = Ledger(tmp_path / "user" / "uncertainty" / "ledger.sqlite3")
        for run in range(4):
            ledger.record(made(500, seed=run), [f"{run}/{i}.png" for i in range(500)], now=1e9 + run)
        tab.queue(1)
        expect(tab.status).to_have_text(f"{2000 + BATCH:,} images")

        def scrolled_beyond_the_first_page() -> bool:
            tab.grid.evaluate("(grid) => grid.scrollBy(0, grid.clientHeight)")
            assert tab.cards.count() < 60
            return int(tab.cards.last.get_attribute("aria-posinset") or 0) > 120

        front_end.until(scrolled_beyond_the_first_page)

        # New images arrive at the top: the cards in view keep their place and the selection stays.
        tab.cards.nth(6).click()
        before = in_sight(tab.grid)
        tab.queue(2)
        expect(tab.status).to_have_text(f"1 of {2000 + 2 * BATCH:,} selected")
        assert in_sight(tab.grid) == (before[0], pytest.approx(before[1], abs=1))
        tab.grid.focus()
        page.keyboard.press("Control+a")
        expect(tab.status).to_have_text(f"{2000 + 2 * BATCH:,} of {2000 + 2 * BATCH:,} selected")
        assert tab.cards.count() < 60

        # Sorted by score, images of several prompts do not compare: the list can be narrowed to one.
        hint = tab.panel.get_by_text("Scores compare only within one prompt")
        expect(hint).to_be_hidden()
        tab.panel.get_by_label("Order").select_option(label="Lowest score")
        expect(hint).to_be_visible()
        page.keyboard.press("Escape")
        expect(tab.status).to_have_text(f"{2000 + 2 * BATCH:,} images")
        expect(tab.cards.first).to_contain_text(f"1st of only {2 * BATCH} · cat face")
        front_end.photograph("ledger-tab-prompts", tab.panel)
        tab.cards.first.click()
        tab.press("Only this prompt")
        expect(tab.status).to_have_text(f"{2 * BATCH} images")
        expect(hint).to_be_hidden()
        tab.cards.first.click()
        expect(tab.panel.get_by_role("button", name="Only this prompt")).to_have_count(0)

        assert front_end.complaints == []
        server.stop()
        tab.show("Rejected")
        expect(tab.panel.get_by_role("alert")).to_contain_text("The server does not respond")
        front_end.photograph("ledger-tab-error", tab.panel)
