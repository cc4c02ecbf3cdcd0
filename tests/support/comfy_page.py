"""ComfyUI's page as a person uses it: canvas and Nodes 2.0, the bundled front-end and a newer one."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
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
# The combinations that users have: the fixture of the server, and whether Nodes 2.0 is on.
FRONT_ENDS = {
    "bundled-canvas": ("server", False),
    "bundled-nodes2": ("server", True),
    "newer-canvas": ("newer_server", False),
    "newer-nodes2": ("newer_server", True),
}
SIZE = {"width": 1900, "height": 1100}
MARGIN = 12  # pixels around a node in its screenshot
BARS = 260  # height in pixels of the bars above and below the canvas
# The front-end looks up every node on its makers' server.
LOOKUPS = "api.comfy.org"
NOWHERE = "about:blank"
LIMIT_MILLISECONDS = 1000 * patience.LIMIT_SECONDS
# Resolves when the view of the canvas has stayed the same for three frames.
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
# Whether the browser's storage holds the open workflow in its present state. Some front-ends wrap its JSON in another JSON.
KEPT = """() => {
    const inOrder = (key, value) => (value?.constructor === Object ? Object.fromEntries(Object.entries(value).sort()) : value);
    const told = (node) => [String(node.id), node.type, node.widgets_values ?? [], node.properties];
    const values = ({ nodes }) => JSON.stringify(nodes.map(told).sort(), inOrder);
    const open = values(JSON.parse(JSON.stringify(window.app.graph.serialize())));
    // The browser may still hold an older state of equal values. Only a change that the history has seen is saved.
    if (values(window.app.extensionManager.workflow.activeWorkflow.changeTracker.activeState) !== open) return false;
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
    """The page. ``complaints``: console errors and warnings that name this pack, and exceptions, each with its source."""

    page: Page
    server: ComfyServer
    vue: bool = False
    complaints: list[str] = field(default_factory=list)
    settled: bool = False

    def hear(self, message: ConsoleMessage) -> None:
        """Record a console error or warning about this pack."""
        told = f"{message.text} ({message.location.get('url')})"
        if message.type in ("error", "warning") and "uncertainty" in told.lower() and LOOKUPS not in told:
            self.complaints.append(told)

    def catch(self, error: Error) -> None:
        """Record an exception; while the page loads, only one of this pack."""
        told = f"{error.message}\n{error.stack}"
        if self.settled or "uncertainty" in told.lower():
            self.complaints.append(told)

    def settle(self) -> None:
        """Wait until the page is ready."""
        self.page.wait_for_function("window.app?.graph && window.app?.extensionManager")
        self.page.get_by_role("button", name="Run").first.wait_for()
        self.settled = True

    def until(self, true: Callable[[], object], movement: Callable[[], object] = lambda: None) -> None:
        """Wait until a condition holds, for as long as the server runs and something moves."""
        pause = lambda seconds: self.page.wait_for_timeout(1000 * seconds)  # noqa: E731
        patience.until(true, alive=self.server_lives, movement=movement, pause=pause)

    def server_lives(self) -> bool:
        """Whether the server still runs."""
        return self.server._process.poll() is None

    def kept(self) -> None:
        """Wait until the open workflow is in the undo history and saved in the browser, which takes a while after each change."""
        self.page.wait_for_function(KEPT, polling=100)

    def reload(self) -> None:
        """Load the page again. The open workflow comes back as it was last ``kept``, in some versions a moment after the page."""
        self.settled = False
        nodes = self.page.evaluate("window.app.graph.nodes.length")
        self.page.reload()
        self.settle()
        self.page.wait_for_function("(nodes) => window.app.graph.nodes.length === nodes", arg=nodes)

    def command(self, name: str) -> None:
        """Run a command of the front-end."""
        self.page.evaluate("(name) => window.app.extensionManager.command.execute(name)", name)

    def theme(self, name: Literal["dark", "light"]) -> None:
        """Choose the colour theme. The server remembers it until the next test opens the page."""
        self.page.evaluate("(name) => window.app.extensionManager.setting.set('Comfy.ColorPalette', name)", name)
        # The first digit of the colour tells dark from light.
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

    def open_graph(self, graph: Mapping[str, Any], file: Path) -> None:
        """Drop a graph in API format on the canvas, as a file of that name."""
        file.write_text(json.dumps(graph))
        self.open(file)

    def run(self) -> None:
        """Press Run and wait for the end of the run."""
        self.page.evaluate(
            """() => {
                const { api } = window.app;
                Object.assign(window, { finished: null, events: 0 });
                for (const kind of ["execution_success", "execution_error", "execution_interrupted"])
                    api.addEventListener(kind, (event) => (window.finished ??= [kind, event.detail]), { once: true });
                for (const kind of ["executing", "progress"]) api.addEventListener(kind, () => window.events++);
            }"""
        )
        self.page.get_by_role("button", name=re.compile("^Run")).first.click()  # not "Cancel this run" of App mode
        self.until(self._run_has_ended, movement=lambda: self.page.evaluate("() => window.events"))
        kind, detail = self.page.evaluate("() => window.finished")
        assert kind == "execution_success", detail

    def outputs(self) -> dict[str, Any]:
        """What nodes gave in the last run, by id. ComfyUI files it a moment after it has said that the run ended."""
        number = self.page.evaluate("() => window.finished[1].prompt_id")

        def filed() -> dict[str, Any]:
            return json.loads(self.page.request.get(f"{self.server.url}/history/{number}").text())

        self.until(filed)
        outputs: dict[str, Any] = filed()[number]["outputs"]
        return outputs

    def _run_has_ended(self) -> bool:
        """Let the page watch for two seconds. Asking it in short intervals takes more time than most runs."""
        with suppress(TookLonger):
            self.page.wait_for_function("() => window.finished", timeout=2000)
            return True
        return False

    def until_nothing_is_missing(self, missing: str, argument: object, name: str) -> None:
        """Wait until a JavaScript function returns null instead of what is missing.

        Raises:
            AssertionError: the same thing has been missing for ``LIMIT_SECONDS``; ``test-results`` has a screenshot of that name.
        """
        found, since = None, time.monotonic()
        while (now := self.page.evaluate(missing, argument)) is not None:
            if now != found:
                found, since = now, time.monotonic()
            if time.monotonic() - since > patience.LIMIT_SECONDS:
                self.photograph(name)
                raise AssertionError(f"{name}: the page has been the same for {patience.LIMIT_SECONDS} s and lacks {now}")
            self.page.wait_for_timeout(100)

    def fix_seeds(self) -> None:
        """Stop the front-end from changing seeds after every run."""
        for node in self.nodes():
            if "control_after_generate" in node.values():
                node.set("control_after_generate", "fixed")

    def still_history(self) -> None:
        """Leave the undo history to the pack: Save Image enlarges itself when its picture arrives, which is a step of it."""
        for node in self.nodes("SaveImage"):
            node.on("(node) => node.collapse()")

    def exported(self) -> dict[str, Any]:
        """The graph in API format, without titles."""
        graph: dict[str, Any] = self.page.evaluate("async () => (await window.app.graphToPrompt()).output")
        return {number: {"class_type": node["class_type"], "inputs": node["inputs"]} for number, node in graph.items()}

    def saved(self) -> dict[str, Any]:
        """The workflow in the format in which it is saved."""
        found: dict[str, Any] = json.loads(self.page.evaluate("() => JSON.stringify(window.app.graph.serialize())"))
        return found

    def load(self, workflow: dict[str, Any]) -> None:
        """Open a saved workflow."""
        self.page.evaluate("(workflow) => window.app.loadGraphData(workflow)", workflow)

    def nodes(self, kind: str | None = None) -> list["Node"]:
        """All nodes, or all nodes of a type."""
        script = """(kind) => window.app.graph.nodes.filter((node) => kind === null || node.type === kind)
            .map((node) => [String(node.id), node.type])"""
        return [Node(self, *found) for found in self.page.evaluate(script, kind)]

    def node(self, kind: str, number: int = 0) -> "Node":
        """A node of a type, by default the first."""
        return self.nodes(kind)[number]

    def add(self, kind: str) -> "Node":
        """Add a node of a type."""
        script = """(kind) => {
            const node = window.LiteGraph.createNode(kind);
            window.app.graph.add(node);
            return String(node.id);
        }"""
        return Node(self, self.page.evaluate(script, kind), kind)

    def copy_paste(self, node: "Node") -> "Node":
        """Copy and paste a node with the keyboard; returns the copy."""
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
        """Press the button of a sidebar tab, which opens or closes it; returns the panel."""
        text = "\u00ad?".join(map(re.escape, title))  # newer front-ends put soft hyphens into titles
        self.page.get_by_role("button").filter(has_text=re.compile(rf"^\s*{text}\s*$")).first.click()
        return self.page.locator(".sidebar-content-container")

    def photograph(self, name: str, of: "Locator | Node | None" = None) -> None:
        """Save a screenshot in ``test-results``: of the page, a part of it, or a node in full size."""
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
    """A node in the open graph. Ids are numbers in older front-ends and strings in newer ones."""

    front_end: FrontEnd
    id: str
    kind: str

    def on(self, script: str, argument: Any = None) -> Any:
        """Call a JavaScript function with the node and an argument; returns its result."""
        find = "window.app.graph.nodes.find((node) => String(node.id) === id)"
        return self.front_end.page.evaluate(f"([id, argument]) => ({script})({find}, argument)", [self.id, argument])

    def values(self) -> dict[str, Any]:
        """The values of its widgets, by name."""
        script = "(node) => (node.widgets ?? []).filter((each) => each.type !== 'custom').map(({ name, value }) => [name, value])"
        return dict(self.on(script))

    def set(self, widget: str, value: Any) -> None:
        """Set a widget as if the value were typed."""
        script = """(node, [name, value]) => {
            const widget = node.widgets.find((each) => each.name === name);
            if (!widget) throw new Error(`${node.type} has no widget ${name}`);
            widget.value = value;
            widget.callback?.(value);
        }"""
        self.on(script, [widget, value])

    def properties(self) -> dict[str, Any]:
        """The properties that are saved with the node."""
        return dict(self.on("(node) => node.properties"))

    @property
    def view(self) -> Locator:
        """The pack's view inside the node, in either renderer."""
        self.on(
            """(node) => node.widgets.find((each) => each.name === "view").element.setAttribute("data-test", `view ${node.id}`)"""
        )
        return self.front_end.page.locator(f"[data-test='view {self.id}']")

    def center(self) -> None:
        """Centre the node on the page at full size."""
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
        page.evaluate(STILL)  # the front-end may move there in an animation

    def box(self) -> dict[str, float]:
        """Its rectangle on the page with the title, in pixels."""
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
        """Save a screenshot of the node in full size, with the pointer elsewhere."""
        page = self.front_end.page
        size = page.viewport_size
        # In the upper left corner it would open a dialog about the workflow's tab, which keeps keys from the page.
        page.mouse.move(SIZE["width"] - 1, SIZE["height"] // 2)
        self.center()
        x, y, width, height = self.box().values()
        clip = {"x": max(0, x - MARGIN), "y": max(0, y - MARGIN), "width": width + 2 * MARGIN, "height": height + 2 * MARGIN}
        page.screenshot(path=path, clip=clip)  # type: ignore[arg-type]
        if size and size != page.viewport_size:
            page.set_viewport_size(size)


@contextmanager
def opened(browser: Browser, server: ComfyServer, vue: bool = False) -> Iterator[FrontEnd]:
    """The page as a new user finds it, with the tests' settings.

    The browser's idle page is reused after its storage is emptied: a new page would compile the front-end's scripts again, which
    takes longer than most tests.
    """
    idle = [page for context in browser.contexts for page in context.pages if page.url == NOWHERE]
    page = idle[0] if idle else browser.new_page()
    page.set_default_timeout(LIMIT_MILLISECONDS)
    page.set_viewport_size(SIZE)  # type: ignore[arg-type]
    page.goto(f"{server.url}/system_stats")  # any page of this origin can empty its storage
    page.evaluate(FORGET)
    settings = {
        "Comfy.TutorialCompleted": True,  # otherwise a new user sees the templates over everything else
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
    if not page.is_closed():  # it is when the tests are interrupted
        page.remove_listener("console", found.hear)
        page.remove_listener("pageerror", found.catch)
        page.mouse.move(0, 0)
        page.goto(NOWHERE)
