"""The culling view, opened from the filter: browsing, verdicts, zoom, comparison and maps, by keyboard, pointer and thumb."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect
from test_filter import FOCUSED, GRAPH, HANDS, LARGE, Filter, sampled

from comfy_page import FrontEnd

__all__ = ["sampled"]  # the fixture
BATCH, KEEP = 12, 5
EVERYWHERE = pytest.mark.parametrize(
    "each_front_end", ["bundled-canvas", "bundled-nodes2", "newer-canvas", "newer-nodes2"], indirect=True
)

# The image that has the focus when Escape and an arrow key come without a pause.
ESCAPED_AND_MOVED_ON = """() => {
    for (const key of ["Escape", "ArrowLeft"])
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    return document.activeElement.dataset.image;
}"""


class Culling:
    """The view on the page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.dialog = page.get_by_role("dialog", name="Images, best first")

    @property
    def status(self) -> Locator:
        """What is said of the image."""
        return self.dialog.get_by_role("status")

    @property
    def panes(self) -> Locator:
        """The images on the stage."""
        return self.dialog.locator("figure")

    def button(self, name: str) -> Locator:
        """A button by its label."""
        return self.dialog.get_by_role("button", name=name, exact=True)

    def press(self, key: str) -> None:
        """Press a key."""
        self.page.keyboard.press(key)

    def shows(self, index: int, place: int, count: int = BATCH) -> None:
        """Wait until an image is looked at."""
        expect(self.status).to_contain_text(re.compile(rf"^{place} of {count} · image {index} ·"))


@pytest.fixture
def culling(sampled: Filter) -> Culling:
    """The view, opened with the keyboard on the best image."""
    page = sampled.front_end.page
    first = sampled.marks()[0][0]
    sampled.line.focus()
    page.keyboard.press("Tab")
    page.wait_for_function(FOCUSED, arg=str(first))
    page.keyboard.press("Enter")
    found = Culling(page)
    found.shows(first, 1)
    return found


@EVERYWHERE
def test_browse_and_decide_by_keyboard(sampled: Filter, culling: Culling, request: pytest.FixtureRequest) -> None:
    """Arrows browse, P, X and U decide and go on; nothing of it reaches the graph, and the focus goes to the card seen last."""
    page = sampled.front_end.page
    ordered, _ = sampled.marks()
    before = page.evaluate(GRAPH)
    expect(culling.panes.get_by_role("img", name=f"image {ordered[0]}")).to_be_visible()
    expect(culling.status).to_contain_text(re.compile(r"✓ kept · rank 1 · score [\d.]+ ± [\d.]+"))
    expect(culling.dialog).to_contain_text("seed 5")
    sampled.front_end.photograph(f"culling-{request.node.callspec.params['each_front_end']}")
    culling.press("x")
    culling.shows(ordered[1], 2)
    culling.press("ArrowLeft")
    culling.shows(ordered[0], 1)
    expect(culling.status).to_contain_text("✕ rejected by hand")
    expect(culling.button("Reject it and go on")).to_have_attribute("aria-pressed", "true")
    culling.press("ArrowLeft")  # stays at the first
    culling.shows(ordered[0], 1)
    culling.press("End")
    culling.shows(ordered[-1], BATCH)
    culling.press("p")
    expect(culling.status).to_contain_text("✓ kept by hand")  # stays at the last
    thumb = culling.dialog.get_by_role("group", name="All images").get_by_role("button").last
    expect(thumb).to_have_attribute("aria-current", "true")
    expect(thumb).to_have_attribute("aria-label", f"{BATCH}, image {ordered[-1]}, ✓ kept by hand")
    culling.press("F1")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys).to_contain_text("Keep it and go on")
    sampled.front_end.photograph(f"culling-keys-{request.node.callspec.params['each_front_end']}")
    culling.press("Escape")
    expect(keys).to_have_count(0)
    culling.press("?")
    culling.press("F1")
    expect(keys).to_have_count(0)
    culling.press("ArrowLeft")
    culling.shows(ordered[-2], BATCH - 1)
    # A key that is held down does not judge what nobody has seen.
    for _ in range(3):
        page.keyboard.down("u")
    page.keyboard.up("u")
    culling.shows(ordered[-1], BATCH)
    culling.press("ArrowLeft")
    culling.press("Delete")
    assert page.evaluate(ESCAPED_AND_MOVED_ON) == str(ordered[-3]), "the focus was not on the card of the image seen last"
    expect(culling.dialog).to_have_count(0)
    page.wait_for_function(FOCUSED, arg=str(ordered[-3]))
    assert page.evaluate(GRAPH) == before
    wanted = sorted([*ordered[1:KEEP], ordered[-1]])
    assert sampled.marks() == (ordered, wanted)
    sampled.run()
    assert sorted(sampled.reported("kept")) == wanted


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_stars_in_the_filter(sampled: Filter, culling: Culling) -> None:
    """Digits give stars here and on the cards. They wait for the next run like verdicts, and change no verdict."""
    page = sampled.front_end.page
    ordered, kept = sampled.marks()
    culling.press("4")
    culling.shows(ordered[1], 2)
    culling.press("ArrowLeft")
    expect(culling.status).to_contain_text("★★★★")
    expect(culling.button("4 stars, and go on")).to_have_attribute("aria-pressed", "true")
    culling.press("Escape")
    page.wait_for_function(FOCUSED, arg=str(ordered[0]))
    first = sampled.cards.nth(0)
    expect(first).to_contain_text("★★★★")
    expect(sampled.status).to_contain_text("queue to apply")
    assert sampled.marks() == (ordered, kept)
    page.keyboard.press("2")
    expect(first).not_to_contain_text("★★★")
    expect(first).to_contain_text("★★")
    sampled.run()
    expect(sampled.status.locator("em")).to_have_count(0)
    expect(sampled.cards.nth(0)).to_contain_text("★★")
    sampled.cards.nth(0).focus()
    page.keyboard.press("0")
    expect(sampled.cards.nth(0)).not_to_contain_text("★")
    assert sampled.node.values()["by_hand"] == ""

    # A node that does not run takes no stars, on the card or in the culling view.
    sampled.node.on("(node) => { node.mode = 4; }")
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    expect(culling.button("3 stars, and go on")).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("3")
    refused = "Nothing can be decided here: the node is bypassed."
    expect(culling.status).to_contain_text(refused)
    sampled.node.set("mode", "percentile")  # the list is shown anew, and what was said must stay
    expect(culling.status).to_contain_text(refused)
    culling.press("ArrowRight")
    culling.shows(ordered[1], 2)
    assert sampled.node.values()["by_hand"] == ""
    page.keyboard.press("Escape")
    sampled.node.on("(node) => { node.mode = 0; }")


def transform(culling: Culling) -> tuple[float, float, float]:
    """Scale and place of the pictures on the stage, which must be the same for all."""
    found = culling.dialog.locator(".unc-culling-picture").evaluate_all(
        "(pictures) => pictures.map((picture) => getComputedStyle(picture).transform)"
    )
    assert len(set(found)) == 1
    if found[0] == "none":
        return 1, 0, 0
    scale, _, _, _, x, y = map(float, re.findall(r"-?[\d.]+(?:e-?\d+)?", found[0].removeprefix("matrix")))
    return scale, x, y


def settle(sampled: Filter, culling: Culling, wanted: tuple[float, float, float]) -> None:
    """Wait until the pictures have this scale and place, in pixels."""
    sampled.front_end.until(lambda: transform(culling) == pytest.approx(wanted, abs=0.5))


def middle(part: Locator, right: float = 0.5, down: float = 0.5) -> tuple[float, float]:
    """A point of an element on the page."""
    box = part.bounding_box()
    assert box
    return box["x"] + right * box["width"], box["y"] + down * box["height"]


@pytest.mark.parametrize("sampled", [pytest.param(LARGE, id="large")], indirect=True)
@EVERYWHERE
def test_zoom_and_swipe_by_pointer(sampled: Filter, culling: Culling) -> None:
    """The wheel zooms at the pointer, a double click shows 1:1, dragging moves the enlarged picture and otherwise browses."""
    page = sampled.front_end.page
    ordered, _ = sampled.marks()
    before = page.evaluate(GRAPH)
    page.set_viewport_size({"width": 900, "height": 700})
    picture = culling.panes.get_by_role("img")
    expect(picture).to_have_js_property("naturalWidth", LARGE[0])
    place = culling.dialog.locator(".unc-culling-place")

    # The point under the pointer stays there.
    there = middle(culling.panes, 0.3, 0.4)
    page.mouse.move(*there)
    left, top = picture_point(picture, there)
    page.mouse.wheel(0, -120)
    expect(place).to_contain_text("%")
    assert transform(culling)[0] > 1
    assert picture_point(picture, there) == pytest.approx((left, top), abs=0.01)
    page.mouse.wheel(0, 2000)
    expect(place).to_have_text(f"1 of {BATCH}")
    settle(sampled, culling, (1, 0, 0))

    page.mouse.dblclick(*there)
    expect(place).to_have_text(f"1 of {BATCH} · 100 %")
    assert picture.evaluate(SHOWN_WIDTH) == pytest.approx(LARGE[0], abs=1)
    assert picture_point(picture, there) == pytest.approx((left, top), abs=0.01)
    scale, x, y = transform(culling)
    drag(page, there, (there[0] - 90, there[1] - 50))
    settle(sampled, culling, (scale, x - 90, y - 50))
    culling.shows(ordered[0], 1)
    culling.press("Shift+ArrowLeft")
    culling.press("ArrowRight")  # the zoom stays
    culling.shows(ordered[1], 2)
    assert transform(culling)[0] == pytest.approx(scale)
    culling.press("z")
    expect(place).to_have_text(f"2 of {BATCH}")

    drag(page, there, (there[0] - 200, there[1]))
    culling.shows(ordered[2], 3)
    drag(page, there, (there[0] + 200, there[1]))
    culling.shows(ordered[1], 2)
    drag(page, there, (there[0] + 20, there[1]))  # too short
    settle(sampled, culling, (1, 0, 0))
    culling.shows(ordered[1], 2)
    culling.button("Close").click()
    assert page.evaluate(GRAPH) == before


# Of the picture in its box, in pixels on the page.
SHOWN_WIDTH = """(image) => {
    const { width, height } = image.getBoundingClientRect();
    return image.naturalWidth * Math.min(width / image.naturalWidth, height / image.naturalHeight);
}"""


def picture_point(picture: Locator, point: tuple[float, float]) -> tuple[float, float]:
    """Where a point of the page lies in the picture, from 0 to 1."""
    box = picture.bounding_box()
    assert box
    return (point[0] - box["x"]) / box["width"], (point[1] - box["y"]) / box["height"]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag with the mouse."""
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()


@EVERYWHERE
def test_compare_with_a_champion(sampled: Filter, culling: Culling, request: pytest.FixtureRequest) -> None:
    """C puts images side by side with one zoom; the champion stays, challengers change, and Enter crowns one."""
    ordered, _ = sampled.marks()
    culling.press("ArrowRight")
    culling.shows(ordered[1], 2)
    culling.press("c")
    culling.shows(ordered[2], 3)

    def side_by_side(*places: int) -> None:
        names = [f"image {ordered[place]} ·" for place in places]
        expect(culling.panes).to_have_text([re.compile(name) for name in (f"champion · {names[0]}", *names[1:])])

    side_by_side(1, 2)
    culling.press("ArrowRight")
    side_by_side(1, 3)
    culling.press("ArrowLeft")
    culling.press("ArrowLeft")
    side_by_side(1, 0)
    culling.press("ArrowRight")
    culling.press("x")  # on the challenger, and the next one comes
    side_by_side(1, 3)
    assert ordered[2] not in sampled.marks()[1]
    culling.press("+")
    expect(culling.button("1:1, and back to the whole picture")).to_have_attribute("aria-pressed", "true")
    assert transform(culling)[0] > 1
    sampled.front_end.photograph(f"culling-compare-{request.node.callspec.params['each_front_end']}")
    culling.press("Enter")
    side_by_side(3, 4)
    culling.press("ArrowUp")
    culling.shows(ordered[3], 4)
    culling.press("x")  # on the champion, which stays
    culling.shows(ordered[3], 4)
    expect(culling.status).to_contain_text("✕ rejected by hand")
    side_by_side(3, 4)
    culling.panes.last.click()
    culling.shows(ordered[4], 5)
    culling.press("c")
    side_by_side(3, 4, 5)
    culling.press("c")
    side_by_side(3, 4, 5, 6)
    culling.press("ArrowRight")
    culling.press("ArrowRight")
    culling.shows(ordered[6], 7)
    side_by_side(3, 4, 5, 6)
    culling.press("ArrowRight")
    side_by_side(3, 7, 8, 9)
    assert transform(culling)[0] > 1
    sampled.front_end.photograph(f"culling-four-{request.node.callspec.params['each_front_end']}")
    culling.press("c")
    expect(culling.panes).to_have_count(1)
    culling.shows(ordered[7], 8)

    # A picture that another pane has shown meanwhile comes back.
    culling.press("c")
    first, second = culling.panes.locator("img").evaluate_all("(images) => images.map(({ src }) => src)")
    for _ in range(3):
        culling.press("c")
    culling.press("ArrowLeft")
    culling.press("c")
    expect(culling.panes).to_have_count(2)
    expect(culling.panes.first.locator("img")).to_have_attribute("src", first)
    expect(culling.panes.last.locator("img")).to_have_attribute("src", second)


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_maps_over_the_pictures(sampled: Filter, culling: Culling, request: pytest.FixtureRequest) -> None:
    """M lays the map of the judged quantity over the picture, Q changes the quantity; both stay while one browses."""
    heat = culling.dialog.locator(".unc-culling-heat img")
    expect(culling.button("Next quantity of the map")).to_be_hidden()
    culling.press("m")
    expect(heat).to_have_attribute("src", re.compile("denoised_variance"))
    expect(heat).to_have_js_property("naturalWidth", 32)
    expect(culling.button("Next quantity of the map")).to_have_text(re.compile("Image change"))
    expect(heat).to_have_js_property("complete", True)
    sampled.front_end.photograph(f"culling-map-{request.node.callspec.params['each_front_end']}")
    first = heat.get_attribute("src")
    culling.press("ArrowRight")
    expect(heat).not_to_have_attribute("src", first or "")
    culling.press("q")
    expect(heat).not_to_have_attribute("src", re.compile("denoised_variance"))
    culling.press("c")
    expect(heat).to_have_count(2)
    culling.button("Uncertainty map").click()
    expect(heat).to_have_count(0)


@pytest.mark.parametrize("each_front_end", ["bundled-nodes2", "newer-canvas"], indirect=True)
def test_by_thumb(sampled: Filter, culling: Culling) -> None:
    """On a phone: nothing is wider than the screen, buttons are large enough, swipes browse, two fingers zoom."""
    page = sampled.front_end.page
    ordered, _ = sampled.marks()
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setDeviceMetricsOverride", {"width": 390, "height": 780, "deviceScaleFactor": 2, "mobile": True})
    session.send("Emulation.setTouchEmulationEnabled", {"enabled": True})

    def touch(kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def tap(name: str) -> None:
        touch("touchStart", middle(culling.button(name)))
        touch("touchEnd")

    try:
        page.wait_for_function("() => innerWidth === 390 && matchMedia('(pointer: coarse)').matches")
        assert culling.dialog.evaluate("(dialog) => [dialog.scrollWidth, dialog.scrollHeight]") == [390, 780]
        sizes = culling.dialog.locator(".unc-culling-button:visible").evaluate_all(
            "(buttons) => buttons.map((button) => Math.min(button.offsetWidth, button.offsetHeight))"
        )
        assert min(sizes) >= 44
        touch("touchStart", (300, 300))
        touch("touchMove", (200, 305))
        touch("touchMove", (150, 305))
        touch("touchEnd")
        culling.shows(ordered[1], 2)
        touch("touchStart", (180, 300))
        touch("touchStart", (180, 300), (220, 300))
        touch("touchMove", (100, 300), (300, 300))
        touch("touchEnd")
        sampled.front_end.until(lambda: transform(culling)[0] > 1.5)
        culling.shows(ordered[1], 2)
        tap("1:1, and back to the whole picture")
        settle(sampled, culling, (1, 0, 0))
        tap("Reject it and go on")
        culling.shows(ordered[2], 3)
        tap("Close")
        expect(culling.dialog).to_have_count(0)
    finally:
        session.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
        session.send("Emulation.clearDeviceMetricsOverride")
    assert sampled.cards.evaluate_all(HANDS) == [ordered[1]]


# A list of five images that an image leaves when it is rejected; the last one cannot be rejected, and its map cannot be loaded.
A_LIST = """async () => {
    const { href } = document.querySelector("link[href$='culling/culling.css']");
    const { openCulling } = await import(new URL("view.js", href).href);
    const canvas = document.createElement("canvas");
    const picture = canvas.toDataURL();
    let ids = ["a", "b", "c", "d", "e"];
    const stars = {};
    window.told = [];
    const list = {
        name: "Recorded images",
        ids: () => ids,
        item: (id) => ({
            id, name: id, small: picture, large: `${picture}#${id}`, facts: [], kept: null, byHand: null, stars: stars[id] ?? 0,
            prompt: `prompt of ${id}`, clip: id === "b" ? `${picture}#clip` : undefined,
            maps: {
                    b: [{ name: "map", label: "Map", url: `${picture}#map` }],
                    e: [{ name: "map", label: "Map", url: "data:,", why: () => new Promise((say) => (window.why = say)) }],
            }[id] ?? [],
        }),
        verdicts: {
            undecided: "Without a verdict",
            locked: () => "",
            decide: async (id) => {
                if (id === "e") throw new Error("e cannot be moved");
                ids = ids.filter((each) => each !== id);
                window.culling.refresh();
            },
        },
        star: (id, count) => { stars[id] = count; window.culling.refresh(); },
        shown: (id) => window.told.push(id),
        closed: (id) => window.told.push(`closed ${id}`),
    };
    window.culling = openCulling(list, "a");
}"""
# Says why there is no map, and resolves when the view has heard it.
ANSWER = "() => new Promise((heard) => { window.why('saved without one'); setTimeout(heard); })"


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_another_list_opens_it(each_front_end: FrontEnd) -> None:
    """Stars, images that leave the list, clips, errors of the list and of its maps; the list is told what is looked at."""
    page = each_front_end.page
    page.evaluate(A_LIST)
    dialog = page.get_by_role("dialog", name="Recorded images")
    status = dialog.get_by_role("status")
    expect(status).to_have_text("1 of 5 · a")
    expect(dialog).to_contain_text("prompt of a")
    page.keyboard.press("3")
    expect(status).to_have_text("2 of 5 · b")
    ground = dialog.locator(".unc-culling-ground img")
    expect(ground).to_have_attribute("src", re.compile("#clip$"))
    page.keyboard.press("m")  # the map is of a single frame
    expect(ground).to_have_attribute("src", re.compile("#b$"))
    page.keyboard.press("m")
    page.emulate_media(reduced_motion="reduce")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    expect(ground).to_have_attribute("src", re.compile("#b$"))
    page.emulate_media(reduced_motion="no-preference")
    page.keyboard.press("ArrowLeft")
    expect(status).to_have_text("1 of 5 · a · ★★★")
    expect(dialog.get_by_role("button", name="3 stars, and go on")).to_have_attribute("aria-pressed", "true")
    dialog.get_by_role("button", name="No stars, and go on").click()
    expect(status).to_have_text("2 of 5 · b")
    page.keyboard.press("x")
    expect(status).to_have_text("2 of 4 · c")
    page.keyboard.press("m")  # it has no map
    expect(dialog.get_by_role("button", name="Uncertainty map")).to_be_hidden()
    page.keyboard.press("End")
    dialog.get_by_role("button", name="Uncertainty map").click()
    page.wait_for_function("() => window.why")
    page.keyboard.press("ArrowLeft")  # which hides the button that was clicked, but keys still work
    expect(status).to_have_text("3 of 4 · d")
    page.evaluate(ANSWER)
    assert "No map" not in dialog.locator("figure").inner_text()  # another image is looked at
    page.evaluate("() => (window.why = null)")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => window.why")
    page.evaluate(ANSWER)
    expect(dialog.locator("figure")).to_contain_text("No map: saved without one")
    page.keyboard.press("m")
    page.keyboard.press("x")
    expect(status).to_have_text("e cannot be moved")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert page.evaluate("() => window.told.at(-1)") == "closed e"
    assert set("abce") <= set(page.evaluate("() => window.told"))
    assert each_front_end.complaints == []
