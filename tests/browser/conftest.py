"""The real front-end of the real server, in a headless Chromium."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from dev.bootstrap import ROOT
from dev.chromium import find_chromium
from dev.server import ComfyServer

PICTURES = ROOT / "test-results"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
# The front-end asks its makers' server about every node.
LOOKUPS = "api.comfy.org"


@dataclass
class FrontEnd:
    """ComfyUI's page. ``complaints``: its errors about this pack, with where they came from, and whatever a workflow throws."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def hear(self, message: ConsoleMessage) -> None:
        """Note an error."""
        told = f"{message.text} ({message.location.get('url')})"
        if message.type == "error" and "uncertainty" in told.lower() and LOOKUPS not in told:
            self.complaints.append(told)

    def open(self, file: Path) -> None:
        """Drop a workflow file on the canvas."""
        self.page.evaluate(
            "([text, name]) => window.app.handleFile(new File([text], name, {type: 'application/json'}))",
            [file.read_text(), file.name],
        )
        self.page.wait_for_function("name => document.title.includes(name)", arg=file.stem)

    def run(self) -> None:
        """Press the button and wait for the end of the run."""
        self.page.evaluate(
            """() => {
                window.finished = new Promise((resolve) => {
                    for (const kind of ["execution_success", "execution_error", "execution_interrupted"])
                        window.app.api.addEventListener(kind, (event) => resolve([kind, event.detail]), { once: true });
                });
            }"""
        )
        self.page.get_by_role("button", name="Run").first.click()
        kind, detail = self.page.evaluate("() => window.finished")
        assert kind == "execution_success", detail

    def exported(self) -> dict[str, Any]:
        """The graph in API format, without titles."""
        graph: dict[str, Any] = self.page.evaluate("async () => (await window.app.graphToPrompt()).output")
        return {number: {"class_type": node["class_type"], "inputs": node["inputs"]} for number, node in graph.items()}

    def photograph(self, name: str) -> None:
        """Keep a screenshot under ``test-results``."""
        PICTURES.mkdir(exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a module. While it is open, Playwright's event loop occupies this thread: no longer than needed."""
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        yield program
        program.close()


@pytest.fixture
def front_end(browser: Browser, server: ComfyServer) -> Iterator[FrontEnd]:
    """A fresh page, ready to work with."""
    page = browser.new_page(viewport={"width": 1900, "height": 1100})
    opened = FrontEnd(page)
    page.on("console", opened.hear)
    # A new user is shown the templates first, over everything else.
    page.request.post(f"{server.url}/settings/Comfy.TutorialCompleted", data="true")
    page.goto(server.url)
    page.wait_for_function("window.app?.graph && window.app?.extensionManager", timeout=60_000)
    page.get_by_role("button", name="Run").first.wait_for()
    page.on("pageerror", lambda error: opened.complaints.append(f"{error.message}\n{error.stack}"))
    yield opened
    page.close()
