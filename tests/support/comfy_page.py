"""ComfyUI's page as a person uses it, on the canvas and in Nodes 2.0, in the bundled front-end and in newer ones."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, ConsoleMessage, Error, Locator, Page
from playwright.sync_api import TimeoutError as TookLonger

import patience
from dev.bootstrap import ROOT
from dev.server import ComfyServer

PICTURES = ROOT / "test-results"
# What a user may have: the server's fixture, and whether it is Nodes 2.0.
FRONT_ENDS = {
    "bundled-canvas": ("server", False),
    "bundled-nodes2": ("server", True),
    "newer-canvas": ("newer_server", False),
    "newer-nodes2": ("newer_server", True),
}
SIZE = {"width": 1900, "height": 1100}
MARGIN = 12  # pixels around a node in its photograph
BARS = 260  # height of what lies over the canvas, above and below
# The front-end asks its makers' server about every node.
LOOKUPS = "api.comfy.org"
NOWHERE = "about:blank"
LIMIT_MILLISECONDS = 1000 * patience.LIMIT_SECONDS
# Two pictures after which the canvas is where it was.
STILL = """() => new Promise((resolve) => {
    const { ds } = window.app.canvas;
    let before, still = 0;
    const look = () => {
        const now = JSON.stringify([ds.scale, ...ds.offset]);
        still = now === before ? still + 1 : 0;
        before = now;
        if (still === 3) resolve();
        else requestAnimationFrame(look);
    };
    look();
})"""
# Whether the browser holds the open workflow as it is: front-ends keep it in one storage or the other, some as a text in a text.
KEPT = """() => {
    const values = (workflow) =>
        JSON.stringify(workflow.nodes.map((node) => [String(node.id), node.type, node.widgets_values, node.properties]).sort());
    const open = values(JSON.parse(JSON.stringify(window.app.graph.serialize())));
    return [...Object.values(localStorage), ...Object.values(sessionStorage)].some((text) => {
        let kept;
        try {
            kept = JSON.parse(text);
            if (typeof kept?.data === "string") kept = JSON.parse(kept.data);
        } catch {
            return false; // not a workflow
        }
        return kept?.nodes && values(kept) === open;
    });
}"""
FORGET = """async () => {
    localStorage.clear();
    sessionStorage.clear();
    for (const { name } of await indexedDB.databases()) indexedDB.deleteDatabase(name);
}"""


@dataclass
class FrontEnd:
    """The page. ``complaints``: errors and warnings of or about this pack, with their source, and whatever a workflow throws."""

    page: Page
    server: ComfyServer
    vue: bool = False
    complaints: list[str] = field(default_factory=list)
    settled: bool = False

    def hear(self, message: ConsoleMessage) -> None:
        """Note an error or a warning."""
        told = f"{message.text} ({message.location.get('url')})"
        if message.type in ("error", "warning") and "uncertainty" in told.lower() and LOOKUPS not in told:
            self.complaints.append(told)

    def catch(self, error: Error) -> None:
        """Note what was thrown; while the page loads, of this pack only."""
        told = f"{error.message}\n{error.stack}"
        if self.settled or "uncertainty" in told.lower():
            self.complaints.append(told)

    def settle(self) -> None:
        """Wait until the page can be worked with."""
        self.page.wait_for_function("window.app?.graph && window.app?.extensionManager")
        self.page.get_by_role("button", name="Run").first.wait_for()
        self.settled = True

    def until(self, true: Callable[[], object], movement: Callable[[], object] = lambda: None) -> None:
        """Give page and server time for what they have been told."""
        pause = lambda seconds: self.page.wait_for_timeout(1000 * seconds)  # noqa: E731
        patience.until(true, alive=self.server_lives, movement=movement, pause=pause)

    def server_lives(self) -> bool:
        """Whether the server still runs."""
        return self.server._process.poll() is None

    def kept(self) -> None:
        """Wait until the front-end has saved the open workflow in the browser, which it does a while after each change."""
        self.page.wait_for_function(KEPT, polling=100)

    def reload(self) -> None:
        """Load the page anew: the open workflow comes back as it was ``kept``."""
        self.settled = False
        self.page.reload()
        self.settle()

    def command(self, name: str) -> None:
        """Run a command of the front-end."""
        self.page.evaluate("(name) => window.app.extensionManager.command.execute(name)", name)

    def theme(self, name: Literal["dark", "light"]) -> None:
        """Choose the colours; the server remembers them until the next page is opened by a fixture."""
        self.page.evaluate("(name) => window.app.extensionManager.setting.set('Comfy.ColorPalette', name)", name)
        # Its first digit tells how bright it is.
        self.page.wait_for_function(
            """(dark) => {
                const colour = getComputedStyle(document.documentElement).getPropertyValue("--bg-color").trim();
                return parseInt(colour[1], 16) < 8 === dark;
            }""",
            arg=name == "dark",
        )

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
                const { api } = window.app;
                Object.assign(window, { finished: null, events: 0 });
                for (const kind of ["execution_success", "execution_error", "execution_interrupted"])
                    api.addEventListener(kind, (event) => (window.finished ??= [kind, event.detail]), { once: true });
                for (const kind of ["executing", "progress"]) api.addEventListener(kind, () => window.events++);
            }"""
        )
        self.page.get_by_role("button", name="Run").first.click()
        self.until(self._run_has_ended, movement=lambda: self.page.evaluate("() => window.events"))
        kind, detail = self.page.evaluate("() => window.finished")
        assert kind == "execution_success", detail

    def _run_has_ended(self) -> bool:
        """Let the page itself look for a while: asking it costs more than most runs."""
        with suppress(TookLonger):
            self.page.wait_for_function("() => window.finished", timeout=2000)
            return True
        return False

    def fix_seeds(self) -> None:
        """By default the front-end changes the seed after every run."""
        for node in self.nodes():
            if "control_after_generate" in node.values():
                node.set("control_after_generate", "fixed")

    def exported(self) -> dict[str, Any]:
        """The graph in API format, without titles."""
        graph: dict[str, Any] = self.page.evaluate("async () => (await window.app.graphToPrompt()).output")
        return {number: {"class_type": node["class_type"], "inputs": node["inputs"]} for number, node in graph.items()}

    def saved(self) -> dict[str, Any]:
        """The workflow as it would be saved."""
        found: dict[str, Any] = json.loads(self.page.evaluate("() => JSON.stringify(window.app.graph.serialize())"))
        return found

    def load(self, workflow: dict[str, Any]) -> None:
        """Open what was saved."""
        self.page.evaluate("(workflow) => window.app.loadGraphData(workflow)", workflow)

    def nodes(self, kind: str | None = None) -> list["Node"]:
        """All nodes, or all of a type."""
        script = """(kind) => window.app.graph.nodes.filter((node) => kind === null || node.type === kind)
            .map((node) => [String(node.id), node.type])"""
        return [Node(self, *found) for found in self.page.evaluate(script, kind)]

    def node(self, kind: str, number: int = 0) -> "Node":
        """A node of a type, the first unless said otherwise."""
        return self.nodes(kind)[number]

    def copy_paste(self, node: "Node") -> "Node":
        """Ctrl+C, Ctrl+V; the copy."""
        before = {each.id for each in self.nodes()}
        node.center()
        node.on("(node) => { window.app.canvas.deselectAll(); window.app.canvas.select(node); }")
        self.page.locator("#graph-canvas").focus()
        self.page.keyboard.press("Control+c")
        self.page.keyboard.press("Control+v")
        self.page.wait_for_function("(count) => window.app.graph.nodes.length > count", arg=len(before))
        (copy,) = [each for each in self.nodes(node.kind) if each.id not in before]
        return copy

    def sidebar(self, title: str) -> Locator:
        """Press a tab's button in the sidebar: opens it, or closes it; the panel."""
        text = "\u00ad?".join(map(re.escape, title))  # newer front-ends hyphenate
        self.page.get_by_role("button").filter(has_text=re.compile(rf"^\s*{text}\s*$")).first.click()
        return self.page.locator(".sidebar-content-container")

    def photograph(self, name: str, of: "Locator | Node | None" = None) -> None:
        """Keep a screenshot under ``test-results``: of the page, a part of it, or a node in full size."""
        PICTURES.mkdir(exist_ok=True)
        path = PICTURES / f"{name}.png"
        if isinstance(of, Locator):
            of.screenshot(path=path)
        elif of is None:
            self.page.screenshot(path=path)
        else:
            of.photograph(path)


@dataclass
class Node:
    """A node in the open graph; ids are numbers in older front-ends and texts in newer ones."""

    front_end: FrontEnd
    id: str
    kind: str

    def on(self, script: str, argument: Any = None) -> Any:
        """What a JavaScript function of the node, and an argument, answers."""
        find = "window.app.graph.nodes.find((node) => String(node.id) === id)"
        return self.front_end.page.evaluate(f"([id, argument]) => ({script})({find}, argument)", [self.id, argument])

    def values(self) -> dict[str, Any]:
        """Its widgets' values."""
        script = "(node) => (node.widgets ?? []).filter((each) => each.type !== 'custom').map(({ name, value }) => [name, value])"
        return dict(self.on(script))

    def set(self, widget: str, value: Any) -> None:
        """As if typed into the widget."""
        script = """(node, [name, value]) => {
            const widget = node.widgets.find((each) => each.name === name);
            if (!widget) throw new Error(`${node.type} has no widget ${name}`);
            widget.value = value;
            widget.callback?.(value);
        }"""
        self.on(script, [widget, value])

    def properties(self) -> dict[str, Any]:
        """What is saved with it beside its widgets."""
        return dict(self.on("(node) => node.properties"))

    @property
    def view(self) -> Locator:
        """What this pack shows inside it, in either renderer."""
        self.on(
            """(node) => node.widgets.find((each) => each.name === "view").element.setAttribute("data-test", `view ${node.id}`)"""
        )
        return self.front_end.page.locator(f"[data-test='view {self.id}']")

    def center(self) -> None:
        """Look at it in its full size."""
        page = self.front_end.page
        height = self.on("(node) => node.size[1]") + BARS
        size = page.viewport_size
        if size and size["height"] < height:
            page.set_viewport_size({"width": size["width"], "height": int(height)})
            page.evaluate(STILL)
        self.on(
            """(node) => {
                const { canvas } = window.app;
                canvas.ds.scale = 1;
                canvas.centerOnNode(node);
                canvas.draw(true, true);
            }"""
        )
        page.evaluate(STILL)  # it may glide there

    def box(self) -> dict[str, float]:
        """Where it is on the page, title and all, in pixels."""
        page = self.front_end.page
        if self.front_end.vue:
            found = page.locator(f"[data-node-id='{self.id}']").bounding_box()
            assert found, f"{self.kind} is not on the page"
            return dict(found)
        x, y, width, height = self.on(
            """(node) => {
                const { ds, canvas } = window.app.canvas;
                const [x, y, width, height] = node.getBounding();
                const [left, top] = ds.convertOffsetToCanvas([x, y]);
                const page = canvas.getBoundingClientRect();
                return [page.left + left, page.top + top, width * ds.scale, height * ds.scale];
            }"""
        )
        return {"x": x, "y": y, "width": width, "height": height}

    def photograph(self, path: Path) -> None:
        """Keep a picture of it in full size, with nothing under the pointer."""
        page = self.front_end.page
        size = page.viewport_size
        page.mouse.move(1, 1)
        self.center()
        x, y, width, height = self.box().values()
        clip = {"x": max(0, x - MARGIN), "y": max(0, y - MARGIN), "width": width + 2 * MARGIN, "height": height + 2 * MARGIN}
        page.screenshot(path=path, clip=clip)  # type: ignore[arg-type]
        if size and size != page.viewport_size:
            page.set_viewport_size(size)


@contextmanager
def opened(browser: Browser, server: ComfyServer, vue: bool = False) -> Iterator[FrontEnd]:
    """The page as a new user finds it, with settings of its own, ready to work with.

    A browser's page is used again, emptied of all that its last user left: a new one would compile the front-end's scripts anew,
    which takes longer than most of what is done with it.
    """
    idle = [page for context in browser.contexts for page in context.pages if page.url == NOWHERE]
    page = idle[0] if idle else browser.new_page()
    page.set_default_timeout(LIMIT_MILLISECONDS)
    page.set_viewport_size(SIZE)  # type: ignore[arg-type]
    page.goto(f"{server.url}/system_stats")  # of the same origin, whose storage this empties
    page.evaluate(FORGET)
    settings = {
        "Comfy.TutorialCompleted": True,  # a new user is shown the templates first, over everything else
        "Comfy.VueNodes.Enabled": vue,
        "Comfy.ColorPalette": "dark",
        "Comfy.Locale": "en",
    }
    assert page.request.post(f"{server.url}/settings", data=json.dumps(settings)).ok
    found = FrontEnd(page, server, vue)
    page.on("console", found.hear)
    page.on("pageerror", found.catch)
    page.goto(server.url)
    found.settle()
    yield found
    page.remove_listener("console", found.hear)
    page.remove_listener("pageerror", found.catch)
    page.mouse.move(0, 0)
    page.goto(NOWHERE)
