"""The library's own page, on a monitor and on a phone, while the queue runs; and touch, there and in the sidebar."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from test_ledger_tab import BATCH, workflow

from comfy_page import LIMIT_MILLISECONDS, PICTURES, FrontEnd
from dev.client import run
from dev.server import ComfyServer
from thumb import Thumb, touching

# Whether every picture in the window is there.
LOADED = """() => [...document.images].every((image) => image.complete || image.getBoundingClientRect().top > innerHeight)"""
PHONE = {"width": 390, "height": 844}


def saved(server: ComfyServer, seed: int, steps: int = 4) -> None:
    """Queue a batch from elsewhere, and wait until it is saved. In a thread: Playwright's event loop occupies this one."""
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(run, server.url, workflow(seed, steps)).result()


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A server whose library is empty at first."""
    base = tmp_path_factory.mktemp("comfyui with a page")
    with ComfyServer(base=base, log=base / "server.log") as running:
        yield running


class Library:
    """The library, wherever it is shown."""

    def __init__(self, element: Locator) -> None:
        self.element = element
        self.status = element.locator("header [role=status]")
        self.grid = element.get_by_role("listbox", name="Images")
        self.cards = self.grid.get_by_role("option")
        self.selected = element.get_by_role("toolbar", name="Selected images")


@contextmanager
def library_page(browser: Browser, server: ComfyServer, **screen: object) -> Iterator[tuple[Page, Library]]:
    """The page in a browser of its own. It must have no error in the end."""
    context = browser.new_context(**screen)  # type: ignore[arg-type]
    context.set_default_timeout(LIMIT_MILLISECONDS)
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{server.url}/uncertainty")
    yield page, Library(page.get_by_role("main").get_by_role("region", name="Uncertainty"))
    context.close()
    assert errors == []


def photograph(page: Page, name: str) -> None:
    PICTURES.mkdir(exist_ok=True)
    page.wait_for_function(LOADED)
    page.screenshot(path=PICTURES / f"{name}.png")


def test_the_page_shows_images_as_they_come_and_takes_verdicts(browser: Browser, own_server: ComfyServer, tmp_path: Path) -> None:
    with library_page(browser, own_server, viewport={"width": 1600, "height": 1000}, color_scheme="dark") as (page, library):
        expect(page).to_have_title("Uncertainty: saved images")
        expect(library.element).to_contain_text("Save Image (Uncertainty)")  # says how images come here
        saved(own_server, 1)
        expect(library.status).to_have_text(f"{BATCH} images")
        expect(library.cards).to_have_count(BATCH)

        # By keys: choose, decide, look closer.
        library.grid.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("p")
        expect(library.cards.nth(0)).to_have_attribute("data-state", "kept")
        page.keyboard.press("Enter")
        culling = page.get_by_role("dialog", name="Recorded images")
        expect(culling).to_contain_text("cat face")
        page.keyboard.press("4")
        page.keyboard.press("Escape")
        expect(culling).to_have_count(0)
        expect(library.cards.nth(0)).to_contain_text("★★★★")

        # New images do not disturb the selection.
        library.cards.nth(2).click()
        saved(own_server, 2)
        expect(library.status).to_have_text(f"1 of {2 * BATCH} selected")
        photograph(page, "library-page-dark")

        # In the menu is what works without a graph.
        name = (library.cards.last.get_attribute("aria-label") or "").partition(", ")[0]
        library.cards.last.click(button="right")
        menu = page.get_by_role("menu", name="Selected images")
        expect(menu.get_by_role("menuitem")).to_have_text(["Download the file", "Copy prompt", "Remove from the list"])
        with page.expect_download() as download:
            menu.get_by_role("menuitem").first.click()
        download.value.save_as(tmp_path / "download.png")
        assert (tmp_path / "download.png").read_bytes() == (own_server.base / "output" / name).read_bytes()
        assert download.value.suggested_filename == name.rpartition("/")[2]

        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 2560, "height": 1440})
        library.element.locator("summary").click()
        photograph(page, "library-page-light-2560")


def test_on_a_phone_a_tap_opens_and_a_long_press_selects(browser: Browser, own_server: ComfyServer) -> None:
    phone = {"viewport": PHONE, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    saved(own_server, 3)
    with library_page(browser, own_server, **phone) as (page, library):
        expect(library.cards.nth(3)).to_be_visible()
        with touching(page) as thumb:
            touched(page, thumb, library)
            thumb.put(library.cards.nth(2))
            expect(library.selected).to_be_visible()
            thumb.lift()
            photograph(page, "library-phone")
            thumb.tap(library.selected.get_by_role("button", name="More …"))
            expect(page.get_by_role("menuitem", name="Download the file")).to_be_visible()
            photograph(page, "library-phone-menu")
            thumb.tap(library.grid)
            expect(page.get_by_role("menu")).to_have_count(0)
            thumb.tap(library.element.locator("summary"))
            expect(library.element.get_by_label("Score from")).to_be_visible()
            photograph(page, "library-phone-filters")
        assert page.evaluate("() => document.documentElement.scrollWidth") == PHONE["width"]


def touched(page: Page, thumb: Thumb, library: Library) -> None:
    """Taps open images until a long press selects one; then they select, until none is selected."""
    total = re.escape((library.status.inner_text()).split()[0])
    first, second = library.cards.nth(0), library.cards.nth(1)
    dialog = page.get_by_role("dialog", name="Recorded images")
    thumb.tap(first)
    expect(dialog).to_be_visible()
    photograph(page, f"library-touch-opened-{page.viewport_size['width']}")  # type: ignore[index]
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    thumb.put(first)
    expect(library.status).to_have_text(re.compile(f"^1 of {total} selected"))
    thumb.lift()
    thumb.tap(second)
    expect(library.status).to_have_text(re.compile(f"^2 of {total} selected"))
    photograph(page, f"library-touch-selected-{page.viewport_size['width']}")  # type: ignore[index]
    thumb.tap(first)
    expect(library.status).to_have_text(re.compile(f"^1 of {total} selected"))
    thumb.tap(second)
    expect(library.selected).to_be_hidden()
    expect(dialog).to_have_count(0)
    thumb.tap(second)
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


DRAGGED = """(card) => {
    const dataTransfer = new DataTransfer();
    card.dispatchEvent(new DragEvent("dragstart", { dataTransfer, bubbles: true }));
    return dataTransfer.types.map((type) => [type, dataTransfer.getData(type)]);
}"""
DROPPED = """(data) => {
    const dataTransfer = new DataTransfer();
    for (const [type, text] of data) dataTransfer.setData(type, text);
    const place = { clientX: 900, clientY: 500, bubbles: true, cancelable: true };
    window.app.canvas.canvas.dispatchEvent(new DragEvent("drop", { dataTransfer, ...place }));
}"""


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_the_sidebar_knows_touch_and_leads_to_the_page(each_front_end: FrontEnd) -> None:
    page, server = each_front_end.page, each_front_end.server
    saved(server, 1, steps=3)
    library = Library(each_front_end.sidebar("Uncertainty"))
    expect(library.cards.nth(1)).to_be_visible()
    each_front_end.photograph(f"library-sidebar-{'nodes2' if each_front_end.vue else 'canvas'}", library.element)
    with touching(page) as thumb:
        touched(page, thumb, library)

    # As before, a mouse selects.
    library.cards.nth(1).click()
    expect(library.status).to_have_text(re.compile("^1 of "))

    # A picture can be dragged from the page into ComfyUI's window.
    page.evaluate("() => window.app.graph.clear()")
    with page.expect_popup() as opened:
        library.element.get_by_role("link", name="Open on a page of its own").click()
    other = Library(opened.value.get_by_role("main"))
    expect(other.cards.first).to_be_visible()
    name = (other.cards.first.get_attribute("aria-label") or "").partition(", ")[0]
    carried = other.cards.first.evaluate(DRAGGED)
    opened.value.close()
    page.evaluate(DROPPED, carried)
    page.wait_for_function("() => window.app.graph.nodes.length === 1")
    loaded = page.evaluate("() => [window.app.graph.nodes[0].type, window.app.graph.nodes[0].widgets[0].value]")
    assert loaded == ["LoadImage", f"{name} [output]"]
    assert each_front_end.complaints == []
