"""The map's view in its node: what it shows after each action, compared with the node's outputs."""

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, expect
from safetensors.numpy import load

from dev.client import view

if TYPE_CHECKING:
    from comfy_page import FrontEnd, Node

BATCH, STEPS = 4, 8
RECORDED = [4, 5, 6]
WINDOW = {"window_start": 0.5, "window_end": 0.8}
NODE = "UncertaintyMapPreview"
FOCUSED = "() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
QUANTITIES = ["Noise (paper)", "Possible images", "Image change", "Prompt fit"]
BASELINES = ["Paper's score", "MC-Dropout", "CFG-Rejection", "Score acceleration"]
# Whether an element ends within the view, below which everything is cut off.
INSIDE_VIEW = """(element) => {
    const [end, limit] = [element, element.closest(".unc-map")].map((each) => each.getBoundingClientRect().bottom);
    return end <= limit + 1;
}"""
# Whether the buttons lie inside their frame, which is no wider than the node, and show their whole names.
WITHIN = """(frame) => {
    const { left, right, top, bottom } = frame.getBoundingClientRect();
    const buttons = [...frame.children].filter((button) => !button.hidden);
    return buttons.every((button) => {
        const box = button.getBoundingClientRect();
        const inside = box.left >= left && box.right <= right + 1 && box.top >= top && box.bottom <= bottom + 1;
        return inside && button.scrollWidth <= button.clientWidth;
    });
}"""
# View and node each round to whole colour levels and table indices.
CLOSE = {"mean": 0.6, "most": 12}


def workflow(width: int = 512, height: int = 384, batch: int = BATCH) -> dict[str, Any]:
    """A batch of wide images, sampled in few steps. The overlay is saved."""

    def node(kind: str, **inputs: object) -> dict[str, Any]:
        return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}

    sampling = {"seed": 3, "steps": STEPS, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    look = {"quantity": "denoised_variance", "step": -1, "colormap": "magma", "opacity": 0.6, "normalize": "image"}
    return {
        "1": node("UncertaintyDemoModel", family="noise prediction", checkpoint="demo model"),
        "2": node("CLIPTextEncode", text="cat face", clip=["1", 1]),
        "3": node("CLIPTextEncode", text="", clip=["1", 1]),
        "4": node("EmptyLatentImage", width=width, height=height, batch_size=batch),
        "5": node(
            "UncertaintyKSampler", model=["1", 0], positive=["2", 0], negative=["3", 0], latent_image=["4", 0], samples=2,
            strength=0.0, percentile=95.0, **sampling, **WINDOW,
        ),
        "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "7": node(NODE, uncertainty=["5", 1], images=["6", 0], **look),
        "8": node("SaveImage", images=["7", 1], filename_prefix="viewer/overlay"),
    }  # fmt: skip


# These two cover both renderers and both front-ends.
pytestmark = pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)


@dataclass
class Viewer:
    """The view in a preview node of the page."""

    front_end: "FrontEnd"
    number: int = 0

    @property
    def node(self) -> "Node":
        """The node, looked up each time: loading a workflow replaces it."""
        return self.front_end.node(NODE, self.number)

    def queue_and_leave(self, seed: int, command: str) -> None:
        """Queue with a new seed, so that there is time, and go to another workflow; ``window.execution_success`` is the end."""
        page = self.front_end.page
        self.front_end.node("UncertaintyKSampler").set("seed", seed)
        for event in ("promptQueued", "execution_success"):
            when = f"(resolve) => window.app.api.addEventListener('{event}', resolve, {{ once: true }})"
            page.evaluate(f"() => {{ window.{event} = new Promise({when}); }}")
        page.get_by_role("button", name="Run").first.click()
        page.evaluate("async () => { await window.promptQueued; }")
        self.front_end.command(command)

    @property
    def root(self) -> Locator:
        """The element of the view."""
        return self.node.view

    def value(self, widget: str) -> Any:
        """Value of a widget of the node."""
        return self.node.values()[widget]

    def memory(self) -> dict[str, Any]:
        """The view's state as saved with the workflow."""
        return dict(self.node.properties()["uncertainty_view"])

    @property
    def canvas(self) -> Locator:
        """The canvas with the picture, in the node or enlarged."""
        large = self.front_end.page.locator("dialog canvas")
        return large if large.count() else self.root.locator(".unc-stage canvas")

    def pixels(self) -> np.ndarray:
        """What the canvas shows, (height, width, 3)."""
        url = self.canvas.evaluate("(canvas) => canvas.toDataURL()")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))

    def shows(self, picture: np.ndarray) -> None:
        """Wait until the canvas shows a picture."""

        def same() -> bool:
            shown = self.pixels()
            if shown.shape != picture.shape:
                return False
            off = np.abs(shown.astype(float) - picture)
            return bool(off.mean() < CLOSE["mean"] and off.max() <= CLOSE["most"])

        self.until(same)

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        self.front_end.until(true)

    def at_rest(self) -> np.ndarray:
        """What the canvas shows when it has stopped changing, (height, width, 3)."""
        shown = [self.pixels()]

        def still() -> bool:
            shown.append(self.pixels())
            return len(shown) > 4 and all(np.array_equal(shown[-1], earlier) for earlier in shown[-4:-1])

        self.until(still)
        return shown[-1]

    def overlays(self) -> list[np.ndarray]:
        """The ``overlay`` output of the node, as the last run saved it."""
        history = json.loads(self.front_end.page.request.get(f"{self.front_end.server.url}/history?max_items=1").text())
        (entry,) = history.values()
        files = [file for output in entry["outputs"].values() for file in output.get("images", []) if file["type"] == "output"]
        return [np.asarray(Image.open(io.BytesIO(view(self.front_end.server.url, file)))) for file in files]

    def maps(self, image: int) -> np.ndarray:
        """The map of an image as sent to the page, summed over all steps, (h, w)."""
        about = json.loads(_header(view(self.front_end.server.url, self.memory()["results"][0]))["about"])
        return load(view(self.front_end.server.url, about["maps"][image]))["denoised_variance"].sum((0, 1))

    @property
    def readout(self) -> str:
        """The line under the picture."""
        return self.root.locator(".unc-readout").inner_text()


def _header(file: bytes) -> dict[str, str]:
    length = int.from_bytes(file[:8], "little")
    return dict(json.loads(file[8 : 8 + length])["__metadata__"])


@pytest.fixture
def viewer(each_front_end: "FrontEnd", tmp_path: Path) -> Iterator[Viewer]:
    """The view after a run of the workflow, centred."""
    each_front_end.open_graph(workflow(), tmp_path / "looking.json")
    each_front_end.fix_seeds()
    each_front_end.run()
    found = Viewer(each_front_end)
    found.root.locator(".unc-stage").wait_for()
    found.node.center()
    yield found
    assert each_front_end.complaints == []


def test_it_shows_what_the_node_hands_on(viewer: Viewer, request: pytest.FixtureRequest) -> None:
    """Every image; then another step, quantity, colour map, opacity and range: the view shows them before a run as after it."""
    for overlay in viewer.overlays():
        viewer.shows(overlay)
        viewer.root.get_by_role("button", name="Next image").click()
    first = viewer.overlays()[0]
    viewer.shows(first)  # after the last image comes the first
    step = viewer.root.get_by_label("Step", exact=True)
    step.press("ArrowLeft")
    step.press("ArrowLeft")
    assert viewer.value("step") == RECORDED[-2]
    viewer.root.get_by_role("radio", name="Noise (paper)").click()
    assert viewer.value("quantity") == "score_variance"
    viewer.root.get_by_label("Heatmap", exact=True).press("ArrowRight")
    assert viewer.value("opacity") == pytest.approx(0.65)
    viewer.node.set("colormap", "turbo")
    viewer.node.set("normalize", "batch")
    viewer.until(lambda: viewer.pixels().tolist() != first.tolist())
    seen = viewer.at_rest()
    viewer.front_end.photograph(f"viewer-{request.node.callspec.id}", viewer.node)
    viewer.node.center()
    viewer.front_end.page.evaluate(
        """() => {
            window.ran = [];
            window.app.api.addEventListener("executing", ({ detail }) => window.ran.push(String(detail)));
        }"""
    )
    viewer.front_end.run()
    assert "5" not in viewer.front_end.page.evaluate("() => window.ran")  # not sampled again
    overlays = viewer.overlays()
    viewer.shows(overlays[0])
    off = np.abs(seen.astype(float) - overlays[0])
    assert off.mean() < CLOSE["mean"] and off.max() <= CLOSE["most"]
    legend = [float(text) for text in viewer.root.locator(".unc-ends span").all_inner_texts()]
    assert legend[0] < legend[1] < legend[2]


def test_pointer_badges_and_curve(viewer: Viewer) -> None:
    """Values under the pointer, scores of the batch, and a click on the curve."""
    page = viewer.front_end.page
    found = viewer.maps(0)
    box = viewer.root.locator(".unc-stage canvas").bounding_box()
    assert box
    assert box["width"] / box["height"] == pytest.approx(512 / 384, rel=0.01)
    row, column = 20, 30
    page.mouse.move(box["x"] + (column + 0.5) / 64 * box["width"], box["y"] + (row + 0.5) / 48 * box["height"])
    told = re.fullmatch(r"([\d.e-]+) · higher than (\d+) % of the image", viewer.readout)
    assert told, viewer.readout
    assert float(told[1]) == pytest.approx(found[row, column], rel=0.006)
    assert int(told[2]) == pytest.approx(100 * (found < found[row, column]).mean(), abs=0.51)
    page.mouse.move(5, 5)
    assert viewer.readout.startswith("Image 0 · score ")
    badges = viewer.root.get_by_role("option")
    assert badges.count() == BATCH
    for badge in badges.all():
        expect(badge.locator("img")).to_have_js_property("naturalWidth", 64)
    viewer.front_end.photograph("strip", viewer.node)
    for image in range(BATCH):
        score = float(re.findall(r"score ([\d.e-]+)", badges.nth(image).get_attribute("aria-label") or "")[0])
        assert score == pytest.approx(viewer.maps(image).mean(), rel=0.01)
    plot = viewer.root.locator(".unc-plot .u-over").bounding_box()
    assert plot
    page.mouse.click(plot["x"] + plot["width"] / 2, plot["y"] + plot["height"] / 2)
    assert viewer.value("step") == RECORDED[1]
    viewer.node.set("step", 1)
    assert "Step 1 was not recorded" in viewer.root.inner_text()


# Whether a picture has a pixel that is not grey.
COLOURFUL = """(image) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value, i) => i % 4 === 0 && value !== data[i + 1]);
}"""


def test_enlarged_and_by_keyboard(viewer: Viewer) -> None:
    """Tab reaches every control. Enter enlarges, arrow keys browse, Escape closes, and none of these keys reach the graph."""
    page = viewer.front_end.page
    graph = "() => JSON.stringify([window.app.graph.nodes.map((node) => [...node.pos]).sort(), window.app.canvas.ds.scale])"
    before = page.evaluate(graph)
    viewer.root.get_by_role("radio", checked=True).focus()
    reached = []
    for _ in range(7):
        reached.append(page.evaluate(FOCUSED))
        page.keyboard.press("Tab")
    score = reached.pop(3)
    assert reached == ["Image change", "Enlarge the map", "Previous image", "Next image", "Step", "Heatmap"]
    assert score.startswith("Image 0, score")
    viewer.root.get_by_role("button", name="Enlarge the map").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Uncertainty maps")
    dialog.locator("canvas").wait_for()
    assert dialog.locator("canvas").bounding_box()["width"] > 800  # type: ignore[index]
    page.keyboard.press("ArrowRight")
    dialog.get_by_text(f"2 of {BATCH} · image 1 · score").wait_for()
    viewer.shows(viewer.overlays()[1])
    viewer.front_end.photograph("enlarged")
    box = dialog.locator("canvas").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
    dialog.get_by_text("% of the image").wait_for()
    first, score = viewer.pixels(), dialog.get_by_role("status").inner_text()
    page.keyboard.press("q")
    expect(dialog.get_by_role("status")).not_to_have_text(score)  # but the other quantity's
    viewer.until(lambda: viewer.pixels().shape == first.shape and not np.array_equal(viewer.pixels(), first))
    page.keyboard.press("m")  # the picture alone, in colour
    expect(dialog.locator("canvas")).to_have_count(0)
    ground = dialog.locator(".unc-culling-ground img")
    assert ground.evaluate(COLOURFUL)
    page.keyboard.press("c")
    expect(dialog.locator("figure")).to_have_count(2)
    page.keyboard.press("m")
    expect(dialog.locator("canvas")).to_have_count(2)
    assert dialog.get_by_role("button", name="Keep it and go on").count() == 0
    for _ in range(3):
        page.keyboard.press("c")
    expect(dialog.locator("figure")).to_have_count(1)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    assert dialog.count() == 0
    assert page.evaluate(FOCUSED) == "Enlarge the map"
    viewer.root.get_by_role("option", selected=True).press("ArrowRight")
    viewer.shows(viewer.overlays()[2])
    page.keyboard.press("Delete")
    assert page.evaluate(graph) == before
    page.mouse.move(box["x"], 500)
    inside = viewer.root.locator(".unc-says").bounding_box()
    assert inside
    page.mouse.move(inside["x"] + 20, inside["y"] + 10)
    page.mouse.wheel(0, 120)
    viewer.until(lambda: page.evaluate("() => window.app.canvas.ds.scale") != 1)


def test_a_new_run_takes_the_place_of_the_enlarged_maps(viewer: Viewer) -> None:
    """The old ones are closed: their image would be decided by another's map."""
    page = viewer.front_end.page
    enlarge = viewer.root.get_by_role("button", name="Enlarge the map")
    enlarge.click()
    dialog = page.get_by_role("dialog", name="Uncertainty maps")
    expect(dialog.locator("canvas")).to_have_count(1)
    before = viewer.overlays()[0]
    viewer.front_end.node("UncertaintyKSampler").set("seed", 21)
    page.evaluate("() => window.app.queuePrompt(0)")
    expect(dialog).to_have_count(0)
    viewer.until(lambda: not np.array_equal(viewer.overlays()[0], before))
    enlarge.click()
    expect(dialog.locator("canvas")).to_have_count(1)
    viewer.shows(viewer.overlays()[0])


def test_it_is_remembered_with_the_node(viewer: Viewer) -> None:
    """A reload of the page and a copy of the node restore the view. It says so when the server has deleted its files."""
    page = viewer.front_end.page
    overlays = viewer.overlays()
    viewer.root.get_by_role("option").nth(2).click()
    viewer.shows(overlays[2])
    viewer.front_end.kept()
    viewer.front_end.reload()
    viewer.root.locator(".unc-stage").wait_for()
    viewer.shows(overlays[2])
    viewer.front_end.copy_paste(viewer.node)
    copy = Viewer(viewer.front_end, number=1)
    copy.shows(overlays[2])
    copy.node.center()
    copy.root.get_by_role("option").nth(1).click()
    copy.shows(overlays[1])
    viewer.shows(overlays[2])
    assert (viewer.memory()["image"], copy.memory()["image"]) == (2, 1)
    viewer.node.center()
    viewer.root.get_by_label("Step", exact=True).press("ArrowLeft")
    assert (viewer.value("step"), copy.value("step")) == (RECORDED[-1], -1)
    viewer.front_end.kept()
    files = viewer.front_end.server.base / "temp" / "uncertainty"
    files.rename(files.with_name("elsewhere"))  # as after a restart of the server, which empties the folder
    try:
        viewer.front_end.reload()
        page.get_by_text("Queue again to see it").first.wait_for()
        assert page.locator(".unc-map-body:visible").count() == 0
    finally:
        files.with_name("elsewhere").rename(files)


def test_results_of_a_run_that_ended_in_another_tab(viewer: Viewer) -> None:
    """The map appears on return to a workflow that ran in the background."""
    page = viewer.front_end.page
    before = viewer.memory()["results"]
    viewer.queue_and_leave(4, "Comfy.NewBlankWorkflow")
    page.evaluate("async () => { await window.execution_success; }")
    assert page.locator(".unc-map").count() == 0
    viewer.front_end.command("Workspace.PreviousOpenedWorkflow")
    viewer.root.locator(".unc-stage").wait_for()
    viewer.until(lambda: viewer.memory()["results"] != before)
    viewer.shows(viewer.overlays()[0])


def test_results_are_no_step_of_the_undo_history(viewer: Viewer) -> None:
    """Undo after a run undoes the change before it. However far one goes back and forth, the last results stay.

    By command, which ends when the graph is loaded: front-end 1.32.9 takes a half-loaded graph for a change if a key follows.
    """
    viewer.front_end.still_history()
    viewer.root.get_by_role("radio", name="Possible images").click()
    viewer.front_end.kept()
    viewer.front_end.node("UncertaintyKSampler").set("seed", 11)
    viewer.front_end.run()
    viewer.front_end.kept()
    results = viewer.memory()["results"]
    assert viewer.value("quantity") == "posterior_variance"
    viewer.front_end.command("Comfy.Undo")
    assert viewer.front_end.node("UncertaintyKSampler").values()["seed"] != 11
    viewer.front_end.command("Comfy.Undo")
    assert viewer.value("quantity") == "denoised_variance"
    for way in ("Comfy.Undo", "Comfy.Undo", "Comfy.Redo", "Comfy.Redo"):
        viewer.front_end.command(way)
        viewer.root.locator(".unc-stage").wait_for()  # in a new node, if something changed
        assert viewer.memory()["results"] == results


def test_results_of_another_workflow_stay_there(viewer: Viewer) -> None:
    """ComfyUI gives results to the node of the same id in the workflow that is open. A copy of a workflow has the same ids."""
    page = viewer.front_end.page
    before = viewer.memory()["results"]
    viewer.queue_and_leave(6, "Comfy.DuplicateWorkflow")
    page.wait_for_function("() => window.app.extensionManager.workflow.openWorkflows.length > 1")
    viewer.node.on("(node) => node.onExecuted = ((before) => (output) => before((window.given = output)))(node.onExecuted)")
    page.evaluate("async () => { await window.execution_success; }")
    given = page.evaluate("() => window.given.uncertainty_view")  # by ComfyUI, to the copy
    assert given and given != [file["filename"] for file in before]
    assert viewer.memory()["results"] == before
    viewer.front_end.command("Workspace.PreviousOpenedWorkflow")
    viewer.until(lambda: viewer.memory()["results"] != before)
    viewer.root.locator(".unc-stage").wait_for()
    viewer.shows(viewer.overlays()[0])


def test_linked_inputs_and_batches(each_front_end: "FrontEnd", tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The view shows every batch of a run, with the values that came by links instead of those in the widgets."""
    graph = workflow(batch=3)
    graph["9"] = {"class_type": "RebatchLatents", "inputs": {"latents": ["4", 0], "batch_size": 2}, "_meta": {"title": "lists"}}
    graph["10"] = {"class_type": "PrimitiveInt", "inputs": {"value": RECORDED[1]}, "_meta": {"title": "step"}}
    graph["5"]["inputs"]["latent_image"] = ["9", 0]
    graph["7"]["inputs"]["step"] = ["10", 0]
    each_front_end.open_graph(graph, tmp_path / "lists.json")
    each_front_end.fix_seeds()
    each_front_end.run()
    found = Viewer(each_front_end)
    found.root.locator(".unc-stage").wait_for()
    found.node.center()
    overlays = found.overlays()
    pager = found.root.get_by_role("group", name="Batches of the run")
    pager.get_by_text("Batch 1 of 2").wait_for()
    found.shows(overlays[0])
    found.node.set("step", -1)
    slider = found.root.get_by_label("Step", exact=True)
    assert slider.is_disabled() and f"{RECORDED[1]} of {STEPS}" in found.root.inner_text()
    found.shows(overlays[0])
    pager.get_by_role("button", name="Next batch").click()
    pager.get_by_text("Batch 2 of 2").wait_for()
    found.shows(overlays[2])
    each_front_end.photograph(f"viewer-batches-{request.node.callspec.id}", found.node)
    found.node.center()
    found.node.on("(node) => node.disconnectInput(node.inputs.findIndex((each) => each.name === 'step'))")
    found.until(slider.is_enabled)
    assert f"sum of {len(RECORDED)}" in found.root.inner_text()
    assert each_front_end.complaints == []


def test_maps_of_the_whole_run(each_front_end: "FrontEnd", tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Drift and the measured baselines stand beside the quantities, without steps, and look like the node's output."""
    graph = workflow(batch=2)
    measured = dict.fromkeys(("paper_score", "mc_dropout", "cfg_rejection", "score_acceleration"), True)
    graph["9"] = {"class_type": "UncertaintyBaselines", "inputs": measured | {"control": "none"}, "_meta": {"title": "others"}}
    graph["5"]["inputs"] |= {"options": ["9", 0], "samples": 3}
    each_front_end.open_graph(graph, tmp_path / "whole.json")
    each_front_end.fix_seeds()
    each_front_end.run()
    found = Viewer(each_front_end)
    found.root.locator(".unc-stage").wait_for()
    found.node.center()
    assert found.root.get_by_role("radio").all_inner_texts() == [*QUANTITIES, "Late change", *BASELINES]
    step, plot = found.root.get_by_label("Step", exact=True), found.root.locator(".unc-plot")
    assert step.is_visible() and plot.is_visible() and " ± " in found.readout
    for label in ("CFG-Rejection", "MC-Dropout", "Late change"):
        found.root.get_by_role("radio", name=label).click()
        found.until(step.is_hidden)
        assert plot.is_hidden() and "±" not in found.root.inner_text() and "NaN" not in found.root.inner_text()
        assert re.fullmatch(r"Image 0 · score [\d.e-]+", found.readout), found.readout
        each_front_end.run()  # of the preview alone
        found.shows(found.overlays()[0])
        each_front_end.photograph(f"viewer-{label}-{request.node.callspec.id}", found.node)
        found.node.center()
    found.node.set("step", RECORDED[0])
    found.root.get_by_text("Late change belongs to the whole run and has no steps. Set step to -1").wait_for()
    found.root.get_by_role("radio", name="Image change").click()
    found.until(step.is_visible)
    assert plot.is_visible() and " ± " in found.readout
    found.node.on("(node) => node.setSize([node.computeSize()[0], node.size[1]])")
    found.node.center()
    assert found.root.locator(".unc-segments").evaluate(WITHIN), "a button leaves the row, or its name is cut off"
    found.until(lambda: plot.evaluate(INSIDE_VIEW))  # the node grows, since rows of buttons take more lines
    each_front_end.photograph(f"viewer-narrow-{request.node.callspec.id}", found.node)
    assert each_front_end.complaints == []


def test_a_run_without_probes(each_front_end: "FrontEnd", tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """With samples 0 there are only maps that cost nothing."""
    graph = workflow(batch=2)
    graph["5"]["inputs"]["samples"] = 0
    graph["7"]["inputs"]["quantity"] = "drift"
    each_front_end.open_graph(graph, tmp_path / "free.json")
    each_front_end.fix_seeds()
    each_front_end.run()
    found = Viewer(each_front_end)
    found.root.locator(".unc-stage").wait_for()
    found.node.center()
    assert found.root.get_by_role("radio").all_inner_texts() == ["Late change", "CFG-Rejection"]
    found.shows(found.overlays()[0])
    assert found.root.get_by_label("Step", exact=True).is_hidden() and found.root.locator(".unc-plot").is_hidden()
    each_front_end.photograph(f"viewer-free-{request.node.callspec.id}", found.node)
    assert each_front_end.complaints == []


def test_one_measured_step_has_no_course(each_front_end: "FrontEnd", tmp_path: Path) -> None:
    """Nothing to choose and nothing to plot: the line below the picture says which step it is."""
    graph = workflow(256, 256, 1)
    graph["5"]["inputs"] |= {"window_start": 0.3, "window_end": 0.32}
    each_front_end.open_graph(graph, tmp_path / "one step.json")
    each_front_end.fix_seeds()
    found = Viewer(each_front_end)
    each_front_end.run()
    found.root.locator(".unc-stage").wait_for()
    expect(found.root.get_by_text(f"step {int(0.3 * STEPS)} of {STEPS}")).to_be_attached()
    assert found.root.get_by_label("Step", exact=True).is_hidden() and found.root.locator(".unc-plot").is_hidden()
    assert each_front_end.complaints == []
