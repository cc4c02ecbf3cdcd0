"""The subgraph Best of N shows its images on the outside."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from comfy_page import FrontEnd
from dev.bootstrap import ROOT

EXAMPLE, BLUEPRINT = ROOT / "example_workflows" / "best_of_16.json", ROOT / "subgraphs" / "Best of N.json"
BATCH, KEEP = 6, 3
# How many images the view of the filter inside shows, which is not on the page.
CARDS_INSIDE = """() => {
    const inside = window.app.graph.nodes.flatMap(({ subgraph }) => subgraph?.nodes ?? []);
    const views = inside.flatMap(({ widgets }) => widgets ?? []).map(({ element }) => element);
    return views.find((view) => view?.matches(".unc-filter")).querySelectorAll(".unc-card").length;
}"""
# By its input of the subgraph: node and output of the example, and type.
WIRES = [(1, 0, "MODEL"), (2, 0, "CONDITIONING"), (3, 0, "CONDITIONING"), (1, 2, "VAE")]


def workflow() -> dict[str, Any]:
    """Model and prompts of the example, the subgraph with small values, and Save Image."""
    example, blueprint = (json.loads(path.read_text()) for path in (EXAMPLE, BLUEPRINT))
    (best,) = blueprint["nodes"]
    names = [put["name"] for put in best["inputs"] if "widget" in put]
    values = dict(zip(names, best["widgets_values"], strict=True)) | {
        "width": 256,
        "height": 256,
        "N": BATCH,
        "keep": KEEP,
        "steps": 6,
    }
    best |= {"id": 20, "pos": [1050, 140], "widgets_values": list(values.values())}
    nodes = [node for node in example["nodes"] if node["id"] in (1, 2, 3)]
    prefix = {"name": "filename_prefix", "type": "STRING", "widget": {"name": "filename_prefix"}, "link": None}
    saving = {
        "inputs": [{"name": "images", "type": "IMAGE", "link": 94}, prefix],
        "outputs": [],
        "flags": {},
        "order": 4,
        "mode": 0,
    }
    nodes += [
        best,
        {
            "id": 21,
            "type": "SaveImage",
            "pos": [1600, 140],
            "size": [320, 400],
            "properties": {},
            "widgets_values": ["best of n"],
            **saving,
        },
    ]
    links = [[1, 1, 1, 2, 0, "CLIP"], [2, 1, 1, 3, 0, "CLIP"], [94, 20, 0, 21, 0, "IMAGE"]]
    links += [[90 + place, node, slot, 20, place, kind] for place, (node, slot, kind) in enumerate(WIRES)]
    by_id = {node["id"]: node for node in nodes}
    for node in nodes:
        for output in node["outputs"]:
            output["links"] = []
    for number, source, slot, target, place, _ in links:
        by_id[source]["outputs"][slot]["links"].append(number)
        by_id[target]["inputs"][place]["link"] = number
    return example | {"nodes": nodes, "links": links, "groups": [], "definitions": blueprint["definitions"], "extra": {}}


# Front-ends from here on, at the latest, show the images of what is inside, and those up to 1.36 its view.
SHOWS_IMAGES = (1, 49)


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "bundled-nodes2", "newer-nodes2"], indirect=True)
def test_the_images_are_shown_outside(each_front_end: FrontEnd, request: pytest.FixtureRequest) -> None:
    """Older front-ends show the filter's view, newer ones the images it keeps; the newer canvas shows neither."""
    front_end, page = each_front_end, each_front_end.page
    front_end.load(workflow())
    front_end.fix_seeds()
    front_end.run()
    (best,) = (node for node in front_end.nodes() if node.id == "20")
    best.center()
    kind = request.node.callspec.params["each_front_end"]
    version = page.evaluate("window.__COMFYUI_FRONTEND_VERSION__")
    shows_images = tuple(map(int, version.split(".")[:2])) >= SHOWS_IMAGES
    if shows_images and not front_end.vue:
        pytest.skip("the canvas of a newer front-end shows nothing of what is inside")
    if shows_images:
        shown = page.locator("[data-node-id='20'] img")
        expect(shown).to_have_count(KEEP)
        front_end.until(lambda: page.evaluate(CARDS_INSIDE) == BATCH)  # the filter's view has loaded, too
    else:
        expect(page.locator(".unc-card")).to_have_count(BATCH)
        expect(page.locator(".unc-card.unc-rejected")).to_have_count(BATCH - KEEP)
        expect(page.locator(".unc-card").first).to_be_visible()
    front_end.photograph(f"best-of-n-{kind}", best)
    page.locator("#graph-canvas").focus()
    page.keyboard.press("Shift+C")  # reaches the filter inside
    expect(page.get_by_role("dialog", name="Images, best first")).to_be_visible()
    page.keyboard.press("Escape")
    assert front_end.complaints == []
