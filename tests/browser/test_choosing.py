"""Mode choose in the filter's node: images are chosen, and the run goes on with them, or does not."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, expect
from test_filter import BATCH, NODE, SMALL, Filter, judge, workflow

from dev.client import make, view

if TYPE_CHECKING:
    from comfy_page import FrontEnd

SAMPLER = "UncertaintyKSampler"
CHOOSE = "Click the images to choose, then send them on."
COUNT = """() => {
    Object.assign(window, { ended: 0, events: 0 });
    for (const kind of ["execution_success", "execution_error"]) window.app.api.addEventListener(kind, () => window.ended++);
    for (const kind of ["executing", "progress"]) window.app.api.addEventListener(kind, () => window.events++);
}"""
CHOSEN = "(cards) => cards.filter((card) => card.innerText.includes('✓ kept')).map((card) => Number(card.dataset.image))"


class Choosing(Filter):
    """The filter's view with the row of mode choose."""

    @property
    def row(self) -> Locator:
        """The note and the buttons."""
        return self.root.get_by_role("group", name="Choice")

    @property
    def note(self) -> Locator:
        """What there is to do."""
        return self.row.get_by_role("status")

    def send(self, number: int) -> Locator:
        """The button that sends so many images on."""
        return self.row.get_by_role("button", name=f"Send {number}", exact=True)

    def card(self, image: int) -> Locator:
        """The card of an image."""
        return self.root.locator(f".unc-card[data-image='{image}']")

    def history(self) -> list[dict[str, Any]]:
        """What ComfyUI has run, oldest first."""
        server = self.front_end.server
        return list(json.loads(self.front_end.page.request.get(f"{server.url}/history").text()).values())

    def after(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The run after one, when it has ended: the node shows its results earlier."""
        known = self.history().index(entry) + 1
        self.front_end.until(lambda: len(self.history()) > known)
        return self.history()[known]

    def saved(self, entry: dict[str, Any], node: str) -> list[np.ndarray]:
        """The pictures that a node saved in a run."""
        files = entry["outputs"][node]["images"]
        return [np.asarray(Image.open(io.BytesIO(view(self.front_end.server.url, file)))) for file in files]


def opened(front_end: "FrontEnd", folder: Path) -> Choosing:
    """A workflow whose seed changes after each run, as ComfyUI's default is, after one run."""
    graph = workflow(*SMALL)
    graph["7"]["inputs"]["mode"] = "choose"
    front_end.open_graph(graph, folder / "choosing.json")
    shown = Choosing(front_end)
    shown.node.on("(node) => { node.pos = [0, -3000]; }")
    front_end.run()
    expect(shown.cards).to_have_count(BATCH)
    shown.node.center()
    return shown


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_the_chosen_images_go_on_with_the_seed_of_their_run(
    each_front_end: "FrontEnd", tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    shown = opened(each_front_end, tmp_path)
    name = request.node.callspec.params["each_front_end"]
    offered = shown.history()[-1]
    assert "9" not in offered["outputs"]  # nothing went on
    assert each_front_end.node(SAMPLER).values()["seed"] != 5
    expect(shown.status).to_have_text(f"0 of {BATCH} chosen")
    expect(shown.note).to_have_text(CHOOSE)
    expect(shown.send(0)).to_be_disabled()
    each_front_end.photograph(f"choosing-{name}-0", shown.node)
    shown.node.center()

    shown.card(7).click()
    shown.card(2).click()
    shown.card(4).click()
    shown.card(4).click()  # a second click takes it back
    shown.card(9).press("x")
    expect(shown.card(9)).to_contain_text("✕ rejected")
    expect(shown.status).to_have_text(f"2 of {BATCH} chosen")
    each_front_end.photograph(f"choosing-{name}-2", shown.node)
    shown.node.center()
    shown.send(2).click()
    expect(shown.note).to_have_text("These were sent on.")
    expect(shown.send(2)).to_be_disabled()
    sent = shown.after(offered)
    _, _, prompt, extra, _ = sent["prompt"]
    assert prompt["4"]["inputs"]["seed"] == 5
    assert "4" in dict(sent["status"]["messages"])["execution_cached"]["nodes"]
    images = shown.saved(offered, "8")
    np.testing.assert_array_equal(shown.saved(sent, "9"), [images[2], images[7]])
    assert len(shown.saved(sent, "10")) == BATCH - 2
    # The workflow in the saved files repeats the run.
    (saved,) = [node for node in extra["extra_pnginfo"]["workflow"]["nodes"] if str(node["id"]) == "7"]
    assert prompt["7"]["inputs"]["by_hand"] in saved["widgets_values"]

    # Another choice goes on as well, and so do stars.
    shown.card(2).press("4")
    expect(shown.note).to_have_text("Not sent on yet.")
    shown.card(2).press("0")
    expect(shown.note).to_have_text("These were sent on.")
    shown.card(0).click()
    expect(shown.note).to_have_text("Not sent on yet.")
    shown.send(3).click()
    expect(shown.note).to_have_text("These were sent on.")
    np.testing.assert_array_equal(shown.saved(shown.after(sent), "9"), [images[0], images[2], images[7]])

    # Without its history, ComfyUI cannot go on, and the view says how.
    shown.card(1).click()
    each_front_end.page.request.post(f"{each_front_end.server.url}/history", data={"clear": True})
    shown.send(4).click()
    expect(shown.note).to_have_text(
        "Not sent on: it is not in ComfyUI's history any more. Queue again with seed 5: the choice holds."
    )
    each_front_end.node(SAMPLER).set("seed", 5)
    each_front_end.run()
    expect(shown.note).to_have_text("These were sent on.")
    assert sorted(shown.cards.evaluate_all(CHOSEN)) == [0, 1, 2, 7]
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_two_filters_of_one_map_are_chosen_from_one_after_the_other(each_front_end: "FrontEnd", tmp_path: Path) -> None:
    """Each choice makes only what comes after its filter, also when ComfyUI has forgotten the run's results."""
    graph = workflow(*SMALL)
    graph["7"]["inputs"]["mode"] = "choose"
    graph["11"] = judge(uncertainty=["4", 1], images=["6", 0]) | {"_meta": {"title": "Second"}}
    graph["11"]["inputs"]["mode"] = "choose"
    graph["12"] = make("SaveImage", images=["11", 0], filename_prefix="filter/second")
    each_front_end.open_graph(graph, tmp_path / "two.json")
    each_front_end.fix_seeds()
    first, second = Choosing(each_front_end, "7"), Choosing(each_front_end, "11")
    for place, shown in enumerate((first, second)):
        shown.node.on("(node, x) => { node.pos = [x, -3000]; }", 1500 * place)
    each_front_end.run()
    for shown in (first, second):
        expect(shown.cards).to_have_count(BATCH)
    offered = first.history()[-1]
    second.node.center()
    second.card(3).click()
    second.send(1).click()
    sent = second.after(offered)
    assert set(sent["outputs"]) == {"11", "12"}

    each_front_end.page.request.post(f"{each_front_end.server.url}/free", data={"free_memory": True})
    first.node.center()
    expect(first.note).to_have_text(CHOOSE)
    first.card(6).click()
    first.card(1).click()
    first.send(2).click()
    last = first.after(sent)
    assert {"9", "10"} <= set(last["outputs"]) and not {"8", "11", "12"} & set(last["outputs"])
    images = first.saved(offered, "8")
    np.testing.assert_array_equal(first.saved(sent, "12"), [images[3]])
    np.testing.assert_array_equal(first.saved(last, "9"), [images[1], images[6]])
    for shown in (first, second):
        shown.node.center()
        expect(shown.note).to_have_text("These were sent on.")
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_runs_that_wait_are_kept_until_they_are_sent_or_cancelled(each_front_end: "FrontEnd", tmp_path: Path) -> None:
    shown = opened(each_front_end, tmp_path)
    shown.card(3).click()
    expect(shown.send(1)).to_be_enabled()
    for further in ("1 more run waits.", "2 more runs wait."):
        each_front_end.run()  # with another seed
        expect(shown.note).to_have_text(f"{CHOOSE} {further}")
    expect(shown.send(1)).to_be_enabled()  # the images in sight stay
    each_front_end.kept()
    each_front_end.reload()
    expect(shown.note).to_have_text(f"{CHOOSE} 2 more runs wait.")
    shown.node.center()
    seeds = [entry["prompt"][2]["4"]["inputs"]["seed"] for entry in shown.history()[-3:]]
    shown.send(1).click()
    expect(shown.note).to_have_text(f"{CHOOSE} 1 more run waits.")
    expect(shown.send(0)).to_be_disabled()
    each_front_end.until(lambda: "9" in shown.history()[-1]["outputs"])
    assert shown.history()[-1]["prompt"][2]["4"]["inputs"]["seed"] == seeds[0]

    before = len(shown.history())
    shown.row.get_by_role("button", name="Cancel").click()
    expect(shown.note).to_have_text(CHOOSE)
    shown.row.get_by_role("button", name="Cancel").click()
    expect(shown.note).to_have_text("Cancelled: nothing was sent on.")
    expect(shown.row.get_by_role("button", name="Cancel")).to_be_hidden()
    each_front_end.kept()
    each_front_end.reload()
    expect(shown.note).not_to_be_empty()  # it is, until the view knows the runs
    assert CHOOSE not in shown.note.inner_text()
    assert len(shown.history()) == before
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_a_choice_taken_out_of_the_queue_waits_again(each_front_end: "FrontEnd", tmp_path: Path) -> None:
    """And one from a run of the filter alone makes what comes after it."""
    shown, page, url = opened(each_front_end, tmp_path), each_front_end.page, each_front_end.server.url
    alone = shown.history()[-1]
    page.evaluate("([id]) => window.app.queuePrompt(0, 1, [id])", [shown.node.id])
    last = shown.after(alone)
    assert set(last["outputs"]) == {"7"}
    expect(shown.note).to_have_text(f"{CHOOSE} 1 more run waits.")
    shown.row.get_by_role("button", name="Cancel").click()
    expect(shown.note).to_have_text(CHOOSE)
    shown.card(3).click()

    long = alone["prompt"][2]
    long["4"]["inputs"] |= {"steps": 10_000, "seed": 99}
    assert page.request.post(f"{url}/prompt", data={"prompt": long}).ok
    with page.expect_response("**/api/prompt"):
        shown.send(1).click()
    expect(shown.note).to_have_text("Sent: it is the next in ComfyUI's queue.")
    assert page.request.post(f"{url}/queue", data={"clear": True}).ok
    expect(shown.note).to_have_text(CHOOSE)
    shown.send(1).click()
    assert page.request.post(f"{url}/interrupt").ok
    expect(shown.note).to_have_text("These were sent on.")
    each_front_end.until(lambda: {"9", "10"} <= set(shown.history()[-1]["outputs"]))
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-canvas"], indirect=True)
def test_nothing_is_lost_while_another_workflow_is_shown(each_front_end: "FrontEnd", tmp_path: Path) -> None:
    """ComfyUI alone gives a workflow that is opened again only the last results of a node, and only those of its Run button."""
    shown, page = opened(each_front_end, tmp_path), each_front_end.page
    page.evaluate(COUNT)

    def meanwhile_elsewhere(ends: int, command: str) -> None:
        each_front_end.command(command)
        each_front_end.until(lambda: page.evaluate("() => window.ended") == ends, lambda: page.evaluate("() => window.events"))
        each_front_end.command("Workspace.PreviousOpenedWorkflow")
        each_front_end.until(lambda: each_front_end.nodes(NODE))

    page.evaluate("async () => { await window.app.queuePrompt(0); await window.app.queuePrompt(0); }")
    meanwhile_elsewhere(2, "Comfy.NewBlankWorkflow")
    expect(shown.note).to_have_text(f"{CHOOSE} 2 more runs wait.")
    shown.node.center()
    shown.card(3).click()
    with page.expect_response("**/api/prompt") as queued:
        shown.send(1).click()
    assert queued.value.ok, queued.value.text()
    expect(shown.note).to_have_text(f"{CHOOSE} 1 more run waits.")
    meanwhile_elsewhere(3, "Workspace.NextOpenedWorkflow")
    expect(shown.note).to_have_text(f"{CHOOSE} 1 more run waits.")
    assert len(shown.node.properties()["uncertainty_view"]["waiting"]) == 2
    assert each_front_end.complaints == []
