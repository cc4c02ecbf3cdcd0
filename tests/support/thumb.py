"""A finger on a page: a screen that is touched, taps and long presses."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import CDPSession, Locator, Page


@contextmanager
def touching(page: Page) -> Iterator["Thumb"]:
    """Give the page a screen that is touched, and take it back: other tests may use the page."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 1})
    yield Thumb(devtools)
    devtools.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
    devtools.detach()


class Thumb:
    """Sends what a finger does."""

    def __init__(self, devtools: CDPSession) -> None:
        self.devtools = devtools

    def put(self, on: Locator) -> None:
        """Put the finger on an element and leave it there."""
        on.scroll_into_view_if_needed()
        box = on.bounding_box()
        assert box
        point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 3}
        self.devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})

    def lift(self) -> None:
        self.devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    def tap(self, on: Locator) -> None:
        self.put(on)
        self.lift()
