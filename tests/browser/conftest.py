"""The real front-end of the real server, in a headless Chromium."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from comfy_page import FRONT_ENDS, LIMIT_MILLISECONDS, FrontEnd, opened
from dev.bootstrap import BUNDLED, comfyui
from dev.chromium import find_chromium
from dev.front_end import newer_front_end
from dev.server import ComfyServer

expect.set_options(timeout=LIMIT_MILLISECONDS)
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for each module, not for the session: while it is open, Playwright's event loop occupies this thread."""
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        yield program
        program.close()


@pytest.fixture(scope="session")
def newer_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """The same server with a newer front-end."""
    if comfyui() != BUNDLED:
        pytest.skip("another ComfyUI brings its own front-end, which may be newer yet")
    folder = tmp_path_factory.mktemp("comfyui")
    with ComfyServer(base=folder, log=folder / "server.log", front_end=newer_front_end()) as running:
        yield running


@pytest.fixture
def front_end(browser: Browser, server: ComfyServer) -> Iterator[FrontEnd]:
    """The bundled front-end with the canvas renderer."""
    with opened(browser, server) as page:
        yield page


@pytest.fixture(params=FRONT_ENDS)
def each_front_end(request: pytest.FixtureRequest, browser: Browser) -> Iterator[FrontEnd]:
    """Every front-end with every renderer. To choose: ``parametrize("each_front_end", ["newer-nodes2"], indirect=True)``."""
    server, vue = FRONT_ENDS[request.param]
    with opened(browser, request.getfixturevalue(server), vue) as page:
        yield page
