"""Translations in the real front-end: names of nodes and fields, the tooltip of a field, and a setting."""

import json
from typing import TYPE_CHECKING, Any

import pytest

from dev.bootstrap import BUNDLED, ROOT, comfyui

if TYPE_CHECKING:
    from comfy_page import FrontEnd

NODE = "UncertaintyKSampler"
FIELD = "window_start"  # its tooltip has the most unusual characters
# A point on a field of the only node; null until the canvas renderer has drawn and so placed it.
PLACE = """(field) => {
    const { graph, canvas } = window.app;
    const [node] = graph.nodes;
    const place = node.widgets.find((each) => each.name === field).last_y;
    const { left, top } = canvas.canvas.getBoundingClientRect();
    return place ? [left + node.pos[0] + 60, top + node.pos[1] + place + 10] : null;
}"""

# The front-end of 0.3.75 drops the texts of packs in languages that it has itself (ComfyUI_frontend, pull request 7214).
# Newer ones offer only their own languages, without German.
NEWER = {"canvas": "zh", "nodes2": "ja"}
SPOKEN = {f"newer-{renderer}": language for renderer, language in NEWER.items()} | {
    f"bundled-{renderer}": "de" if comfyui() == BUNDLED else language for renderer, language in NEWER.items()
}


@pytest.mark.parametrize(("each_front_end", "language"), SPOKEN.items(), indirect=["each_front_end"])
def test_nodes_fields_tooltips_and_settings_are_translated(each_front_end: "FrontEnd", language: str) -> None:
    page, vue = each_front_end.page, each_front_end.vue
    texts: dict[str, Any] = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text())
    assert page.request.post(f"{each_front_end.server.url}/settings/Comfy.Locale", data=json.dumps(language)).ok
    page.reload()  # without waiting for the Run button, whose name is translated too
    page.wait_for_function("window.app?.graph && window.app?.extensionManager")
    page.wait_for_function(
        "([type, title]) => LiteGraph.registered_node_types[type]?.title === title",
        arg=[NODE, texts[NODE]["display_name"]],
    )

    shown = page.evaluate(
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

    page.evaluate(
        """(type) => {
            const { graph, canvas } = window.app;
            graph.clear();
            const node = LiteGraph.createNode(type);
            node.pos = [600, 200];
            graph.add(node);
            node.toggleAdvanced(); // the field is folded away
            canvas.ds.reset();
            canvas.setDirty(true, true);
        }""",
        NODE,
    )
    told = texts[NODE]["inputs"][FIELD]
    if vue:
        page.locator("[data-node-id]").get_by_text(told["name"], exact=True).hover()
    else:
        x, y = page.wait_for_function(PLACE, arg=FIELD).json_value()
        page.mouse.move(x, y)
        page.mouse.move(x + 2, y)
    page.get_by_text(told["tooltip"], exact=True).first.wait_for()
    each_front_end.photograph(f"locale_{language}_{'nodes2' if vue else 'canvas'}")

    settings = json.loads((ROOT / "locales" / language / "settings.json").read_text())
    each_front_end.command("Comfy.ShowSettingsDialog")
    dialog = page.get_by_role("dialog").last
    dialog.get_by_text("Uncertainty", exact=True).first.click()
    for setting in settings.values():
        dialog.get_by_text(setting["name"], exact=True).wait_for()
    dialog.get_by_text(settings["Uncertainty_Language"]["options"]["As ComfyUI"], exact=True).first.wait_for()
    each_front_end.photograph(f"locale_{language}_setting_{'nodes2' if vue else 'canvas'}")
    assert each_front_end.complaints == []
