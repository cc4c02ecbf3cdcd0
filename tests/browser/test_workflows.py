"""The example workflows load, run and show their results in every front-end and renderer."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from comfy_page import FRONT_ENDS
from dev.bootstrap import BUNDLED, ROOT, comfyui
from dev.demo import WORKFLOW

if TYPE_CHECKING:
    from conftest import FrontEnd

FILES = sorted((ROOT / "example_workflows").glob("*.json"))
BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))
# The server of the newer front-end samples in fewer steps: that changes the pictures, not how they are shown.
FEW_STEPS = 8
VIEW = "uncertainty_view"  # the output of nodes that have a view of this pack
# What is missing of a node's results on the page; null if its pictures are loaded and its view is drawn.
MISSING = """([id, vue, view]) => {
    const { graph, nodeOutputs } = window.app;
    const node = graph.nodes.find((each) => String(each.id) === id);
    const output = nodeOutputs[id] ?? {};
    const part = document.querySelector(`[data-node-id="${id}"]`);
    const pictures = vue && part ? [...part.querySelectorAll("img")] : (node.imgs ?? []);
    if (output.images?.length && !output[view]) {
        if (!pictures.length) return "its pictures";
        const empty = pictures.filter((each) => !(each.naturalWidth > 0));
        if (empty.length) return `pictures: ${empty.map((each) => `${each.src} (complete: ${each.complete})`)}`;
    }
    if (!output[view]) return null;
    const { element } = node.widgets.find((each) => each.name === "view");
    // Every pixel, because a curve of one step is a few pixels of its canvas.
    const painted = (canvas) => {
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
        copy.drawImage(canvas, 0, 0);
        return copy.getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0);
    };
    const canvases = [...element.querySelectorAll("canvas")].filter((each) => each.getBoundingClientRect().width > 0);
    const said = `; the view says: ${element.innerText.slice(0, 200)}`;
    if (!canvases.length) return `every canvas${said}`;
    const blank = canvases.filter((each) => !painted(each));
    if (blank.length) return `what ${blank.map((each) => each.parentElement.className)} draws${said}`;
    // The others are loaded as they are scrolled to, and those of a strip of one image are hidden.
    const [first] = [...element.querySelectorAll("img")].filter((each) => !each.closest("[hidden]"));
    return !first || first.naturalWidth > 0 ? null : `its first picture ${first.src} (complete: ${first.complete})${said}`;
}"""


# How often ComfyUI itself shows pictures of a node that has a view.
DOUBLES = """([id]) => {
    const node = window.app.graph.nodes.find((each) => String(each.id) === id);
    const parts = [...document.querySelectorAll(`[data-node-id="${id}"] .image-preview, [data-node-id="${id}"] img`)];
    const shown = parts.filter((part) => !part.closest(".unc") && part.getBoundingClientRect().height > 0);
    return shown.length + (node.imgs ?? []).length + node.widgets.filter(({ name }) => name.startsWith("$$")).length;
}"""


# Every file in the two front-ends that differ most, some files in all four; file by file, so that a server samples each once.
OPPOSITES = ("bundled-canvas", "newer-nodes2")
IN_ALL = ("best_of_16", "first_steps")
RUNS = [
    pytest.param(file, name, id=f"{file.stem}-{name}")
    for file in FILES
    for name in (FRONT_ENDS if file.stem in IN_ALL else OPPOSITES)
]


def use_few_steps(front_end: "FrontEnd") -> None:
    """Lower the number of steps in samplers and schedulers."""
    for node in front_end.nodes():
        steps = node.values().get("steps")
        if isinstance(steps, int) and steps > FEW_STEPS:
            node.set("steps", FEW_STEPS)


@pytest.mark.parametrize(("file", "each_front_end"), RUNS, indirect=["each_front_end"])
def test_file_runs_and_shows_what_came_out(each_front_end: "FrontEnd", file: Path, request: pytest.FixtureRequest) -> None:
    page = each_front_end.page
    name = f"{file.stem}-{request.node.callspec.params['each_front_end']}"
    each_front_end.open(file)
    assert page.evaluate("() => window.app.graph.nodes.filter((node) => node.has_errors).map((node) => node.type)") == []
    if each_front_end.server.front_end:
        use_few_steps(each_front_end)
    each_front_end.run()
    each_front_end.command("Comfy.Canvas.FitView")
    reported = page.evaluate(
        "() => Object.fromEntries(Object.entries(window.app.nodeOutputs).map(([id, output]) => [id, Object.keys(output)]))"
    )
    for node in each_front_end.nodes():
        if node.id in reported:
            each_front_end.until_nothing_is_missing(MISSING, [node.id, each_front_end.vue, VIEW], f"{name}-missing-{node.id}")
    each_front_end.photograph(name)
    for node in each_front_end.nodes():
        if VIEW in reported.get(node.id, []):
            assert page.evaluate(DOUBLES, [node.id]) == 0
            each_front_end.photograph(f"{name}-{node.id}", of=node)
    assert any(key in ("images", VIEW) for keys in reported.values() for key in keys)
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", OPPOSITES, indirect=True)
@pytest.mark.parametrize("file", BLUEPRINTS, ids=lambda file: file.stem)
def test_a_blueprint_opens_with_its_values(each_front_end: "FrontEnd", file: Path, request: pytest.FixtureRequest) -> None:
    """The values of the outer node reach the nodes inside."""
    blueprint = json.loads(file.read_text())
    (outer,), (inner,) = blueprint["nodes"], blueprint["definitions"]["subgraphs"]
    each_front_end.open(file)
    each_front_end.command("Comfy.Canvas.FitView")
    each_front_end.photograph(f"{file.stem}-{request.node.callspec.params['each_front_end']}")
    exported = each_front_end.exported()
    assert sorted(node["class_type"] for node in exported.values()) == sorted(node["type"] for node in inner["nodes"])
    widgets = [put["name"] for put in outer["inputs"] if "widget" in put]
    given = dict(zip(widgets, outer["widgets_values"], strict=True))
    for link in inner["links"]:
        name = inner["inputs"][link["origin_slot"]]["name"] if link["origin_id"] == inner["inputNode"]["id"] else None
        if name in given:
            target = next(node for node in inner["nodes"] if node["id"] == link["target_id"])
            put = target["inputs"][link["target_slot"]]["name"]
            assert exported[f"{outer['id']}:{target['id']}"]["inputs"][put] == given[name], name
    assert each_front_end.complaints == []


def test_demo_queues_what_the_file_exports(front_end: "FrontEnd") -> None:
    if comfyui() != BUNDLED:
        pytest.skip("stock nodes have other inputs in other versions")
    front_end.open(ROOT / "example_workflows" / f"{WORKFLOW.name.partition('.')[0]}.json")
    assert front_end.exported() == json.loads(WORKFLOW.read_text())


def ours(front_end: "FrontEnd") -> dict[str, Any]:
    """This pack's nodes in the exported workflow: those of ComfyUI may change when a later version loads them."""
    return {number: node for number, node in front_end.exported().items() if node["class_type"].startswith("Uncertainty")}


def test_saved_workflow_and_copied_node_keep_what_was_typed(each_front_end: "FrontEnd") -> None:
    """Values of this pack's nodes survive saving, loading, copying and a reload of the page."""
    typed = {"samples": 7, "window_start": 0.25, "strength": 0.5, "seed": 123456789}
    each_front_end.open(ROOT / "example_workflows" / "best_of_16.json")
    sampler = each_front_end.node("UncertaintyKSampler")
    for widget, value in typed.items():
        sampler.set(widget, value)
    before = ours(each_front_end)
    assert typed.items() <= before[sampler.id]["inputs"].items()
    each_front_end.load(each_front_end.saved())
    assert ours(each_front_end) == before
    copy = each_front_end.copy_paste(each_front_end.node("UncertaintyKSampler"))
    assert copy.values() == each_front_end.node("UncertaintyKSampler").values()
    assert typed.items() <= copy.values().items()
    whole = ours(each_front_end)
    each_front_end.kept()
    each_front_end.reload()
    assert ours(each_front_end) == whole
    assert each_front_end.complaints == []


def test_sidebar_and_both_themes(each_front_end: "FrontEnd", request: pytest.FixtureRequest) -> None:
    """The tab opens in the dark and the light theme, and closes."""
    panel = each_front_end.sidebar("Uncertainty")
    panel.get_by_role("region", name="Uncertainty").wait_for()
    for theme in ("dark", "light"):
        each_front_end.theme(theme)
        each_front_end.photograph(f"sidebar-{theme}-{request.node.callspec.params['each_front_end']}")
    each_front_end.sidebar("Uncertainty")
    each_front_end.page.get_by_role("region", name="Uncertainty").wait_for(state="detached")
    assert each_front_end.complaints == []
