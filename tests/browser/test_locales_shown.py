"""The translations in the real front-end: what a node is called, its fields, and what is told about a field under the pointer."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from dev.bootstrap import BUNDLED, ROOT, comfyui

if TYPE_CHECKING:
    from conftest import FrontEnd

NODE = "UncertaintyKSampler"
FIELD = "window_start"  # its tooltip has the most unusual characters

Speak = Callable[[str, bool], dict[str, Any]]


@pytest.fixture
def speak(front_end: "FrontEnd") -> Iterator[Speak]:
    """Open the page in a language, in Nodes 2.0 or on the canvas; answers with the language's texts by node id."""
    page = front_end.page
    root = page.url.partition("?")[0].rstrip("/")

    def settle(language: str, vue: bool) -> dict[str, Any]:
        for setting, value in {"Comfy.Locale": language, "Comfy.VueNodes.Enabled": vue}.items():
            assert page.request.post(f"{root}/settings/{setting}", data=json.dumps(value)).ok
        page.reload()
        page.wait_for_function("window.app?.graph && window.app?.extensionManager", timeout=60_000)
        page.locator("#graph-canvas").wait_for()
        found: dict[str, Any] = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text())
        return found

    yield settle
    settle("en", False)  # the server remembers


def bundled() -> None:
    """Skip where the front-end is another one."""
    if comfyui() != BUNDLED:
        pytest.skip("newer front-ends know their own languages only, and German is none of them")


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_node_is_called_as_translated(front_end: "FrontEnd", speak: Speak, language: str) -> None:
    bundled()
    texts = speak(language, False)
    shown = front_end.page.evaluate(
        """(types) => Object.fromEntries(types.map((type) => {
            const node = LiteGraph.createNode(type);
            const named = (slots) => slots.map((slot) => [slot.name, slot.localized_name ?? slot.name]);
            const widgets = (node.widgets ?? []).filter((widget) => widget.label).map((widget) => [widget.name, widget.label]);
            return [type, { title: node.title, inputs: [...named(node.inputs), ...widgets], outputs: named(node.outputs) }];
        }))""",
        list(texts),
    )
    for name, node in texts.items():
        assert shown[name]["title"] == node["display_name"]
        inputs = dict(shown[name]["inputs"])
        for field, told in node.get("inputs", {}).items():
            assert inputs[field] == told["name"], (name, field)
        for index, told in node.get("outputs", {}).items():
            if "name" in told:
                assert shown[name]["outputs"][int(index)][1] == told["name"], (name, index)
    assert front_end.complaints == []


@pytest.mark.parametrize("vue", [False, True], ids=["canvas", "nodes 2.0"])
def test_the_pointer_shows_the_translated_tooltip(front_end: "FrontEnd", speak: Speak, vue: bool) -> None:
    bundled()
    told = speak("de", vue)[NODE]["inputs"][FIELD]
    page = front_end.page
    # Where the field is on the canvas.
    x, y = page.evaluate(
        """async ([type, field]) => {
            const { graph, canvas } = window.app;
            graph.clear();
            const node = LiteGraph.createNode(type);
            node.pos = [600, 200];
            graph.add(node);
            canvas.ds.reset();
            canvas.setDirty(true, true);
            await new Promise((resolve) => setTimeout(resolve, 500));
            const widget = node.widgets.find((each) => each.name === field);
            const { left, top } = canvas.canvas.getBoundingClientRect();
            return [left + node.pos[0] + 60, top + node.pos[1] + widget.last_y + 10];
        }""",
        [NODE, FIELD],
    )
    if vue:
        page.locator("[data-node-id]").get_by_text(told["name"], exact=True).hover()
    else:
        page.mouse.move(x, y)
        page.mouse.move(x + 2, y)
    page.get_by_text(told["tooltip"], exact=True).wait_for()
    front_end.photograph(f"tooltip_{'nodes2' if vue else 'canvas'}")
    assert front_end.complaints == []
