"""What the views say, in the language that was chosen: all of it from the tables, on ComfyUI's page and on the library's own."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from comfy_page import LIMIT_MILLISECONDS, FrontEnd
from dev.bootstrap import ROOT
from dev.client import make
from dev.server import ComfyServer

TEXTS = ROOT / "web" / "texts"
BATCH, STEPS = 4, 4
PROMPT = "cat face"
# Every text that somebody can see or hear in the views: of elements in sight, with their tooltips and labels.
SAID = """() => {
    const said = [];
    const attributes = ["title", "aria-label", "placeholder", "alt", "label", "data-says", "aria-valuetext"];
    for (const root of document.querySelectorAll(".unc")) {
        for (const element of [root, ...root.querySelectorAll("*")]) {
            if (!element.checkVisibility() || element.closest(".uplot")) continue;
            if (element.value?.startsWith?.("fingerprint:")) continue; // the server describes settings
            for (const name of attributes) said.push(element.getAttribute(name) ?? "");
            for (const node of element.childNodes) if (node.nodeType === Node.TEXT_NODE) said.push(node.data);
        }
    }
    return said.filter((text) => text.trim());
}"""
TRANSLATED = re.compile("⟦[^⟦⟧]*⟧")
# What is the same in every language.
DATA = re.compile(
    rf"\b{PROMPT}\b|[\w/ -]+\.(?:png|webp|jpg)\b|\bdemo model\b|\bDemoModel [0-9a-f]+"  # of the tests on this server
    r"|\bUncertainty\b"  # the name of the tab
    r"|\b[a-z]+(?:_[a-z]+)+\b|\bdrift\b|\bbayesdiff\b"  # names of quantities
    r"|\b(?:Esc|Home|End|Enter|F1|[A-Z])\b"  # keys
    r"|σ|\d(?:\.\d+)?e[+-]\d+|\d+\. \w+\.?, \d+:\d\d"
)
LETTER = re.compile(r"[^\W\d_]")


def workflow() -> dict[str, Any]:
    """Every view after one run: cost, map, filter, and images for the library."""
    sampling = {"seed": 5, "steps": STEPS, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    measuring = {"samples": 2, "strength": 0.0, "percentile": 95.0, "window_start": 0.0, "window_end": 1.0}
    wires = {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}
    shown = {"quantity": "denoised_variance", "step": -1, "colormap": "inferno", "opacity": 0.5, "normalize": "batch"}
    rule = {"mode": "keep_best", "keep": 2, "percentile": 50.0, "threshold": 0.0, "quantity": "denoised_variance"}
    judging = {"reject": "highest", "window_start": 0.0, "window_end": 1.0, "when_none_pass": "block"}
    return {
        "1": make("UncertaintyDemoModel", family="noise prediction", checkpoint="demo model"),
        "2": make("CLIPTextEncode", text=PROMPT, clip=["1", 1]),
        "3": make("EmptyLatentImage", width=256, height=256, batch_size=BATCH),
        "4": make("UncertaintyKSampler", **sampling, **measuring, **wires),
        "5": make("VAEDecode", samples=["4", 0], vae=["1", 2]),
        "6": make("UncertaintyMapPreview", uncertainty=["4", 1], images=["5", 0], **shown),
        "7": make("UncertaintyScoreFilter", uncertainty=["4", 1], images=["5", 0], **rule, **judging),
        "8": make("UncertaintySaveImage", images=["5", 0], uncertainty=["4", 1], filename_prefix="texts/image"),
    }


def choose(page: Page, server: ComfyServer, language: str) -> None:
    """Choose the language of the views in the settings."""
    assert page.request.post(f"{server.url}/settings/Uncertainty.Language", data=json.dumps(language)).ok


def marked(route: Route) -> None:
    """A table that marks every text."""
    route.fulfill(json={english: f"⟦{english}⟧" for english in json.loads((TEXTS / "de.json").read_text())})


@pytest.fixture
def translated(front_end: FrontEnd) -> Iterator[FrontEnd]:
    """The page in a language that marks every text."""
    page = front_end.page
    page.route("**/texts/de.json", marked)
    choose(page, front_end.server, "de")
    front_end.reload()
    yield front_end
    page.unroute("**/texts/de.json")
    choose(page, front_end.server, "auto")


def untranslated(page: Page) -> list[str]:
    """What the views say that no table has."""
    left = []
    for text in page.evaluate(SAID):
        rest = text
        while TRANSLATED.search(rest):
            rest = TRANSLATED.sub("", rest)
        if LETTER.search(DATA.sub("", rest)):
            left.append(text)
    return sorted(set(left))


def test_views_in_nodes_say_nothing_untranslated(translated: FrontEnd, tmp_path: Path) -> None:
    page = translated.page
    translated.open_graph(workflow(), tmp_path / "texts.json")
    translated.fix_seeds()
    assert untranslated(page) == []  # before there are results
    translated.run()
    view, judge = translated.node("UncertaintyMapPreview"), translated.node("UncertaintyScoreFilter")
    expect(judge.view.locator(".unc-card")).to_have_count(BATCH)
    expect(view.view.locator(".unc-segments button").first).to_be_visible()
    assert untranslated(page) == []
    for node, changes in (
        (view, {"step": 1, "quantity": "drift"}),
        (view, {"step": 99, "quantity": "denoised_variance"}),
        (judge, {"mode": "threshold", "threshold": 1e9}),
        (judge, {"threshold": -1.0, "when_none_pass": "error"}),
        (judge, {"when_none_pass": "keep_best_one"}),
        (judge, {"mode": "reference"}),
        (judge, {"by_hand": "image 2"}),
        (judge, {"by_hand": "", "mode": "choose"}),
        (judge, {"by_hand": '{"keep": [1], "reject": [2]}', "mode": "keep_best"}),
    ):
        for widget, value in changes.items():
            node.set(widget, value)
        assert untranslated(page) == [], changes
    for node in (view, judge):
        node.on("(node) => (node.mode = 4)")
    expect(judge.view.locator("em")).to_contain_text("⟦bypassed⟧")
    assert untranslated(page) == []
    assert translated.complaints == []


def test_the_culling_view_says_nothing_untranslated(translated: FrontEnd, tmp_path: Path) -> None:
    page = translated.page
    translated.open_graph(workflow(), tmp_path / "texts.json")
    translated.fix_seeds()
    translated.run()
    judge = translated.node("UncertaintyScoreFilter")
    judge.center()
    judge.view.locator(".unc-filter-cull").click()
    dialog = page.locator("dialog.unc-culling")
    expect(dialog).to_be_visible()
    assert untranslated(page) == []
    for key in ("p", "x", "m", "q", "c", "c", "z"):
        page.keyboard.press(key)
        assert untranslated(page) == [], key
    page.keyboard.press("F1")
    expect(page.locator(".unc-culling-keys")).to_be_visible()
    assert untranslated(page) == []
    for _ in range(2):
        page.keyboard.press("Escape")
    view = translated.node("UncertaintyMapPreview")
    view.on("(node) => { node.pos = [node.pos[0] + 600, node.pos[1]]; }")  # away from the filter, which has grown over it
    view.center()
    view.view.locator(".unc-picture").click()
    expect(page.locator("dialog.unc")).to_be_visible()
    assert untranslated(page) == []
    assert translated.complaints == []


def test_the_library_says_nothing_untranslated(translated: FrontEnd, tmp_path: Path) -> None:
    page = translated.page
    translated.open_graph(workflow(), tmp_path / "texts.json")
    translated.fix_seeds()
    translated.run()
    panel = translated.sidebar("Uncertainty")
    panel.get_by_role("searchbox").fill(PROMPT)  # other tests save images on this server
    cards = panel.get_by_role("option", name=PROMPT)
    expect(cards.first).to_be_visible()
    panel.locator("summary").click()
    assert untranslated(page) == []
    cards.first.click()
    for key in ("p", "3", "x"):
        page.keyboard.press(key)
        assert untranslated(page) == [], key
    cards.nth(1).click(button="right")
    expect(page.get_by_role("menu")).to_be_visible()
    assert untranslated(page) == []
    page.keyboard.press("Escape")
    panel.locator(".unc-ledger-main").click()
    expect(panel.locator(".unc-ledger-done").last).to_contain_text("⟦Moved to rejected:")
    assert untranslated(page) == []
    panel.get_by_role("searchbox").fill("no such prompt")
    expect(panel).to_contain_text("⟦No images match these filters.⟧")
    assert untranslated(page) == []
    assert translated.complaints == []


@contextmanager
def library(browser: Browser, server: ComfyServer, **settings: object) -> Iterator[Page]:
    """The library's own page in an Austrian browser, with these settings of ComfyUI; without any, the server refuses to tell."""
    context = browser.new_context(locale="de-AT")
    page = context.new_page()
    page.set_default_timeout(LIMIT_MILLISECONDS)
    page.route("**/api/settings", lambda route: route.fulfill(json=settings) if settings else route.fulfill(status=401))
    page.goto(f"{server.url}/uncertainty")
    yield page
    context.close()


@pytest.mark.parametrize(
    ("settings", "language"),
    [
        ({}, "de"),
        ({"Comfy.Locale": "zh-TW"}, "zh-TW"),
        ({"Comfy.Locale": "ru"}, "en"),
        ({"Comfy.Locale": "ru", "Uncertainty.Language": "fr"}, "fr"),
        ({"Comfy.Locale": "ja", "Uncertainty.Language": "auto"}, "ja"),
    ],
)
def test_the_library_speaks_the_chosen_language(
    browser: Browser, server: ComfyServer, settings: dict[str, str], language: str
) -> None:
    text = "Select all" if language == "en" else json.loads((TEXTS / f"{language}.json").read_text())["Select all"]
    with library(browser, server, **settings) as page:
        expect(page.get_by_role("button", name=text, exact=True)).to_be_visible()
        assert page.evaluate("() => document.documentElement.lang") == language


def test_views_in_nodes_speak_german(front_end: FrontEnd, tmp_path: Path) -> None:
    page, server = front_end.page, front_end.server
    choose(page, server, "de")
    try:
        front_end.reload()
        front_end.open_graph(workflow(), tmp_path / "deutsch.json")
        front_end.fix_seeds()
        expect(front_end.node("UncertaintyKSampler").view).to_have_text(f"{2 * STEPS} zusätzliche Modellaufrufe (+200 %)")
        front_end.run()
        judge = front_end.node("UncertaintyScoreFilter").view
        expect(judge.locator(".unc-filter-status")).to_have_text(f"2 von {BATCH} behalten")
        expect(judge).to_have_attribute("lang", "de")
        expect(front_end.node("UncertaintyMapPreview").view.get_by_role("radio", name="Bildänderung")).to_be_visible()
        panel = front_end.sidebar("Uncertainty")
        expect(panel.get_by_role("option", name=PROMPT).first).to_contain_text(re.compile(rf"[1-{BATCH}]\. von nur {BATCH}"))
    finally:
        choose(page, server, "auto")
    assert front_end.complaints == []
