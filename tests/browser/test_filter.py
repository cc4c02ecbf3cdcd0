"""The filter's view in its node: images sorted by score, a cut moved by hand, and its effect on the next run."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Locator, expect

from dev.client import view
from made_maps import made
from uncertainty.choosing.cut import best_first
from uncertainty.storage.tensor_files import save_map

if TYPE_CHECKING:
    from comfy_page import FrontEnd, Node

NODE = "UncertaintyScoreFilter"
BATCH, KEEP = 12, 5
# Both are larger than a thumbnail.
SMALL, LARGE = (320, 240), (1200, 900)
# Positions and zoom of the graph, which nothing done in the view may change.
GRAPH = "() => JSON.stringify([window.app.graph.nodes.map((node) => [...node.pos]).sort(), window.app.canvas.ds.scale])"
FOCUSED = "(image) => document.activeElement.dataset.image === image"
NAN = float("nan")
SCORES = [0.5, 0.2, NAN, 0.7, 0.2, 0.1, float("inf"), 0.9, 0.2, 0.3]
SIDES = ("highest", "lowest")
RULES: list[dict[str, Any]] = [
    *({"mode": "keep_best", "keep": keep, "reject": reject} for keep in (1, 3, 99) for reject in SIDES),
    *({"mode": "percentile", "percentile": share, "reject": "highest"} for share in (0, 12.5, 37.5, 57.14, 100)),
    {"mode": "percentile", "percentile": 30, "reject": "lowest"},
    *({"mode": "threshold", "threshold": cut, "reject": reject} for cut in (0.2, 0.25, -1, 5) for reject in SIDES),
    {"mode": "threshold", "threshold": -1, "reject": "highest", "when_none_pass": "keep_best_one"},
    *(
        {"mode": mode, "keep": keep, "percentile": 57.14, "threshold": 0.25, "reject": reject, "by_hand": by_hand}
        for mode, keep in (("keep_best", 1), ("keep_best", 4), ("percentile", 1), ("threshold", 1))
        for reject in SIDES
        for by_hand in ('{"keep": [2, 7], "reject": [5]}', '{"reject": [7, 5]}')
    ),
    {"mode": "threshold", "threshold": 0.1, "reject": "highest", "when_none_pass": "keep_best_one", "by_hand": '{"reject": [5]}'},
]


def make(kind: str, **inputs: object) -> dict[str, Any]:
    """A node in API format."""
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def judge(**inputs: object) -> dict[str, Any]:
    """The filter node in API format."""
    rule = {"mode": "keep_best", "keep": KEEP, "percentile": 50.0, "threshold": 0.0, "quantity": "denoised_variance"}
    return make(NODE, **rule, reject="highest", window_start=0.0, window_end=1.0, when_none_pass="block", **inputs)


def workflow(width: int, height: int) -> dict[str, Any]:
    """A batch, sampled in few steps and scaled. All, kept and rejected images are saved."""
    sampling = {"seed": 5, "steps": 8, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    measuring = {"samples": 3, "strength": 0.0, "percentile": 95.0, "window_start": 0.5, "window_end": 0.8}
    wires = {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}
    return {
        "1": make("UncertaintyDemoModel", family="noise prediction", checkpoint="demo model"),
        "2": make("CLIPTextEncode", text="cat face", clip=["1", 1]),
        "3": make("EmptyLatentImage", width=256, height=192, batch_size=BATCH),
        "4": make("UncertaintyKSampler", **sampling, **measuring, **wires),
        "5": make("VAEDecode", samples=["4", 0], vae=["1", 2]),
        "6": make("ImageScale", image=["5", 0], upscale_method="bilinear", width=width, height=height, crop="disabled"),
        "7": judge(uncertainty=["4", 1], images=["6", 0], latents=["4", 0]),
        "8": make("SaveImage", images=["6", 0], filename_prefix="filter/all"),
        "9": make("SaveImage", images=["7", 0], filename_prefix="filter/kept"),
        "10": make("SaveImage", images=["7", 4], filename_prefix="filter/rejected"),
    }


class Filter:
    """The filter's view on the page."""

    def __init__(self, front_end: "FrontEnd", number: str = "7") -> None:
        self.front_end = front_end
        self.number = number  # of the node, if there are several

    @property
    def node(self) -> "Node":
        """The node, looked up each time: loading a workflow replaces it."""
        nodes = self.front_end.nodes(NODE)
        return next(node for node in nodes if len(nodes) == 1 or node.id == self.number)

    @property
    def root(self) -> Locator:
        """The element of the view."""
        return self.node.view

    @property
    def status(self) -> Locator:
        """The line above the histogram."""
        return self.root.locator(".unc-filter-status")

    @property
    def line(self) -> Locator:
        """The handle of the cut."""
        return self.root.get_by_role("slider", name="Cut between kept and rejected")

    @property
    def cards(self) -> Locator:
        """The cards of the images, in their order on the page."""
        return self.root.locator(".unc-card")

    def marks(self) -> tuple[list[int], list[int]]:
        """All images in their order on the page, and the kept ones in batch order."""
        cards = self.cards.evaluate_all("(cards) => cards.map((card) => [Number(card.dataset.image), card.innerText])")
        for _, text in cards:
            assert ("✓ kept" in text) != ("✕ rejected" in text)
        return [index for index, _ in cards], sorted(index for index, text in cards if "✓ kept" in text)

    def reported(self, name: str) -> list[Any]:
        """An output that the node reported for its last run."""
        found: list[Any] = self.front_end.page.evaluate("([id, name]) => window.app.nodeOutputs[id][name]", [self.node.id, name])
        return found

    def run(self) -> tuple[set[str], dict[str, list[np.ndarray]]]:
        """Run; returns the nodes that ComfyUI's cache answered, and the saved pictures by node."""
        page, server = self.front_end.page, self.front_end.server
        page.evaluate(
            """() => {
                window.ran = [];
                window.cached = [];
                window.app.api.addEventListener("executing", ({ detail }) => window.ran.push(String(detail)));
                window.app.api.addEventListener("execution_cached", ({ detail }) => (window.cached = detail.nodes));
            }"""
        )
        self.front_end.run()
        expect(self.status.locator("em")).to_have_count(0)  # the view asks for no further run
        cached = set(page.evaluate("() => window.cached"))
        assert not cached & set(page.evaluate("() => window.ran"))
        pictures = {
            number: [np.asarray(Image.open(io.BytesIO(view(server.url, file)))) for file in output["images"]]
            for number, output in self.front_end.outputs().items()
            if "images" in output
        }
        return cached, pictures


@pytest.fixture
def sampled(each_front_end: "FrontEnd", tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Filter]:
    """The filter after a run of the workflow, centred. Pictures are ``SMALL`` unless a test sets another size."""
    each_front_end.open_graph(workflow(*getattr(request, "param", SMALL)), tmp_path / "filtering.json")
    each_front_end.fix_seeds()
    found = Filter(each_front_end)
    found.node.on("(node) => { node.pos = [0, -3000]; }")  # away from other nodes, which grow when they show images
    each_front_end.still_history()
    each_front_end.run()
    expect(found.cards).to_have_count(BATCH)
    found.node.center()
    yield found
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_marks_are_the_nodes(each_front_end: "FrontEnd", tmp_path: Path) -> None:
    """Every change of a widget marks the images at once as the next run will select them."""
    graph = {"1": load_scores(each_front_end, SCORES, "marks"), "2": judge(uncertainty=["1", 0])}
    each_front_end.open_graph(graph, tmp_path / "marks.json")
    each_front_end.run()
    shown = Filter(each_front_end)
    expect(shown.cards).to_have_count(len(SCORES))
    shown.node.center()
    for rule in RULES:
        for name, value in ({"when_none_pass": "block", "by_hand": ""} | rule).items():
            shown.node.set(name, value)
        marked = shown.marks()
        assert marked[0] == best_first(torch.tensor(SCORES), rule["reject"]), rule
        expect(shown.status).to_contain_text(f"{len(marked[1])} of {len(SCORES)} kept")
        expect(shown.status.locator("em")).to_have_count(int(marked[1] != sorted(shown.reported("kept"))))
        shown.run()
        assert sorted(shown.reported("kept")) == marked[1], rule
        assert shown.marks() == marked
    assert [text.split("\n")[-1] for text in shown.cards.all_inner_texts()[-2:]] == ["no valid score"] * 2
    shown.node.set("mode", "reference")
    expect(shown.status).to_contain_text("in the last run")
    expect(shown.status.locator("em")).to_have_text("queue to rank")
    assert shown.marks() == marked
    shown.run()
    assert shown.marks()[1] == sorted(shown.reported("kept"))
    said = re.compile("kept, 1 by hand · compared (with|within) .* of the same prompt and settings")
    expect(shown.status).to_contain_text(said)
    for by_hand in ("", '{"keep": [2], "reject": [5]}'):  # with another verdict, the view knows what passes the rule
        shown.node.set("by_hand", by_hand)
        expect(shown.status).to_contain_text("of the same prompt and settings")
        marked = shown.marks()
        shown.run()
        assert shown.marks()[1] == sorted(shown.reported("kept")) == marked[1]
    shown.node.set("by_hand", "image 2")
    expect(shown.status.locator("em")).to_have_text("by_hand cannot be read: clear it")
    shown.node.set("by_hand", "")
    shown.node.set("across_prompts", True)
    expect(shown.status.locator("em")).to_have_text("queue to rank")
    shown.run()
    expect(shown.status).to_contain_text("with the same settings and any prompt")
    shown.node.set("window_end", 0.9)
    expect(shown.status.locator("em")).to_have_text("queue to score again")
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_a_new_quantity_brings_its_bad_end(each_front_end: "FrontEnd", tmp_path: Path) -> None:
    graph = {"1": make("UncertaintyMapLoad", file="none"), "2": judge(uncertainty=["1", 0])}
    graph["2"]["inputs"]["reject"] = "lowest"
    each_front_end.open_graph(graph, tmp_path / "ends.json")
    node = each_front_end.node(NODE)
    assert node.values()["reject"] == "lowest"  # as it was saved, although denoised_variance is bad at its high end
    for quantity, end in (("prompt_information", "lowest"), ("drift", "highest"), ("score_variance", "lowest")):
        node.set("quantity", quantity)
        assert node.values()["reject"] == end
    node.set("reject", "highest")
    assert node.values()["reject"] == "highest"


def load_scores(front_end: "FrontEnd", scores: list[float], name: str, spatial: tuple[int, ...] = (4, 4)) -> dict[str, Any]:
    """Save a map with these scores on the server; returns the node that loads it."""
    each = torch.tensor(scores).reshape(1, -1, 1, *(1 for _ in spatial))
    values = each.expand(1, -1, 2, *spatial)
    found = replace(made(len(scores)), quantities=dict.fromkeys(made(1).quantities, values))
    save_map(front_end.server.base / "output" / "uncertainty" / f"{name}.safetensors", found)
    front_end.reload()  # for the new list of files
    return make("UncertaintyMapLoad", file=f"uncertainty/{name}.safetensors [output]")


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_videos_play_in_the_culling_view(each_front_end: "FrontEnd", tmp_path: Path) -> None:
    graph = {
        "1": load_scores(each_front_end, [0.2, 0.1], "videos", spatial=(5, 4, 4)),
        # Five frames of latents are decoded into 17.
        "2": make("EmptyImage", width=64, height=48, batch_size=2 * 17, color=0x3366CC),
        "3": judge(uncertainty=["1", 0], images=["2", 0]),
    }
    each_front_end.open_graph(graph, tmp_path / "videos.json")
    each_front_end.run()
    shown = Filter(each_front_end)
    expect(shown.cards).to_have_count(2)
    shown.node.center()
    shown.root.get_by_role("button", name="Cull", exact=True).click()
    picture = each_front_end.page.get_by_role("dialog", name="Images, best first").locator(".unc-culling-ground img")
    expect(picture).to_have_attribute("src", re.compile(r"_1_clip\.webp$"))
    expect(picture).to_have_js_property("naturalWidth", 64)
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_a_linked_rule_shows_what_the_run_did(each_front_end: "FrontEnd", tmp_path: Path) -> None:
    """Widgets whose values come by links say nothing about the run, and nothing in the view sets them."""
    graph = {
        "1": load_scores(each_front_end, [0.5, 0.2, 0.7, 0.1, 0.9, 0.3], "linked"),
        "2": judge(uncertainty=["1", 0]),
        "3": make("PrimitiveInt", value=2),
        "4": make("PrimitiveFloat", value=0.4),
        "5": make("PrimitiveFloat", value=1.0),
    }
    graph["2"]["inputs"] |= {"keep": ["3", 0], "window_end": ["5", 0]}
    each_front_end.open_graph(graph, tmp_path / "linked.json")
    each_front_end.run()
    shown = Filter(each_front_end)
    expect(shown.cards).to_have_count(6)
    shown.node.center()
    for keep, window_end in ((1, 1.0), (6, 0.5)):
        shown.node.set("keep", keep)
        shown.node.set("window_end", window_end)
        expect(shown.status).to_have_text("2 of 6 kept")
        assert shown.marks()[1] == [1, 3]
    shown.node.set("reject", "lowest")
    expect(shown.status.locator("em")).to_have_text("queue to apply")
    assert shown.marks()[1] == [2, 4]
    shown.node.set("reject", "highest")
    expect(shown.status).to_have_text("2 of 6 kept")
    for mode, word in ((4, "bypassed"), (2, "muted")):
        shown.node.on("(node, mode) => { node.mode = mode; }", mode)
        expect(shown.status).to_have_text(f"2 of 6 kept · when it last ran{word}, does not run")
    shown.node.on("(node) => { node.mode = 0; }")
    expect(shown.status).to_have_text("2 of 6 kept")
    shown.node.on("(node) => node.disconnectInput(node.inputs.findIndex((each) => each.name === 'keep'))")
    expect(shown.status).to_have_text("6 of 6 keptqueue to apply")

    link = """(node) => {
        const source = window.app.graph.nodes.find((each) => String(each.id) === "4");
        source.connect(0, node, node.inputs.findIndex((each) => each.name === "threshold"));
    }"""
    shown.node.set("mode", "threshold")
    shown.node.on(link)
    expect(shown.status).to_contain_text("queue to apply")
    each_front_end.run()
    expect(shown.status).to_have_text("3 of 6 kept · cut at 0.4")
    shown.line.focus()
    each_front_end.page.keyboard.press("End")
    assert shown.node.values()["threshold"] == 0
    expect(shown.status).to_have_text("3 of 6 kept · cut at 0.4")
    expect(shown.root.locator(".unc-histogram")).to_have_attribute("title", re.compile("threshold comes by link"))
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_batches_of_a_list(each_front_end: "FrontEnd", tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A node whose inputs are lists runs once per batch, and the view shows every batch."""
    graph = workflow(*SMALL)
    graph["3"]["inputs"]["batch_size"] = 5
    graph["11"] = make("RebatchLatents", latents=["3", 0], batch_size=2)
    graph["4"]["inputs"]["latent_image"] = ["11", 0]
    graph["7"]["inputs"]["keep"] = 1
    each_front_end.open_graph(graph, tmp_path / "batches.json")
    each_front_end.fix_seeds()
    each_front_end.run()
    shown = Filter(each_front_end)
    shown.node.center()
    pager = shown.root.get_by_role("group", name="Batches of the run")
    scores, first = shown.reported("scores"), 0
    assert shown.reported("batches") == [2, 2, 1]
    for number, size in enumerate((2, 2, 1), start=1):
        expect(pager).to_contain_text(f"Batch {number} of 3")
        expect(shown.cards).to_have_count(size)
        expect(shown.status).to_have_text(f"1 of {size} kept")
        batch = scores[first : first + size]
        assert shown.marks() == (np.argsort(batch, kind="stable").tolist(), [batch.index(min(batch))])
        assert first + batch.index(min(batch)) == shown.reported("kept")[number - 1]
        first += size
        if number == 2:
            each_front_end.photograph(f"filter-batches-{request.node.callspec.id}", shown.node)
            shown.node.center()
        pager.get_by_role("button", name="Next batch").click()
    expect(pager).to_contain_text("Batch 1 of 3")
    pager.get_by_role("button", name="Previous batch").click()
    each_front_end.kept()
    each_front_end.reload()
    expect(Filter(each_front_end).root).to_contain_text("Batch 3 of 3")
    expect(Filter(each_front_end).cards).to_have_count(1)
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "bundled-nodes2", "newer-nodes2"], indirect=True)
def test_cut_by_hand(sampled: Filter, request: pytest.FixtureRequest) -> None:
    """Dragging the cut sets the node's widgets, and the next run keeps those images without sampling again."""
    page = sampled.front_end.page
    ordered, kept = sampled.marks()
    assert kept == sorted(sampled.reported("kept")) and len(kept) == KEEP
    scores = np.array(sampled.reported("scores"))
    assert ordered == np.argsort(scores, kind="stable").tolist()
    before = page.evaluate(GRAPH)
    plot, line = sampled.root.locator(".u-over").bounding_box(), sampled.line.bounding_box()
    assert plot
    assert line
    x, y = line["x"] + line["width"] / 2, plot["y"] + plot["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    while f"{KEEP + 2} of" not in sampled.status.inner_text():
        x += 2
        assert x < plot["x"] + plot["width"]
        page.mouse.move(x, y)
    page.mouse.up()
    assert page.evaluate(GRAPH) == before
    typed = sampled.node.values()
    assert typed["mode"] == "threshold"
    low, high = scores[ordered[KEEP + 1 : KEEP + 3]]
    assert abs(typed["threshold"] - (low + high) / 2) <= (high - low) / 10
    assert sampled.marks() == (ordered, sorted(ordered[: KEEP + 2]))
    expect(sampled.status.locator("em")).to_have_text("queue to apply")
    sampled.front_end.photograph(f"filter-{request.node.callspec.params['each_front_end']}", sampled.node)
    sampled.node.center()

    cached, pictures = sampled.run()
    assert {"4", "5", "6"} <= cached  # sampler, decoder and scaling come from the cache
    marked = sampled.marks()[1]
    assert sorted(sampled.reported("kept")) == marked == sorted(ordered[: KEEP + 2])
    rejected = sorted(ordered[KEEP + 2 :])
    np.testing.assert_array_equal(pictures["9"], [pictures["8"][index] for index in marked])
    np.testing.assert_array_equal(pictures["10"], [pictures["8"][index] for index in rejected])

    # With the keyboard: one image more, then none, then all.
    sampled.line.focus()
    page.keyboard.press("ArrowRight")
    assert sampled.marks()[1] == sorted(ordered[: KEEP + 3])
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert sampled.marks()[1] == sorted(ordered[: KEEP + 1])
    page.keyboard.press("Home")
    assert sampled.marks()[1] == []
    _, pictures = sampled.run()
    assert "9" not in pictures  # nothing is kept, so only that branch is blocked
    np.testing.assert_array_equal(pictures["10"], pictures["8"])
    sampled.line.focus()
    page.keyboard.press("End")
    assert sampled.marks()[1] == list(range(BATCH))
    _, pictures = sampled.run()
    assert "10" not in pictures
    np.testing.assert_array_equal(pictures["9"], pictures["8"])


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_it_is_saved_with_the_workflow(sampled: Filter) -> None:
    """Cut and images come back after the page is reloaded. Without its files the view says that they are gone."""
    page, server = sampled.front_end.page, sampled.front_end.server
    sampled.line.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    typed, marked = sampled.node.values(), sampled.marks()
    assert len(marked[1]) == KEEP - 3
    sampled.front_end.kept()
    sampled.front_end.reload()
    expect(sampled.cards).to_have_count(BATCH)
    assert (sampled.node.values(), sampled.marks()) == (typed, marked)
    expect(sampled.status.locator("em")).to_have_text("queue to apply")
    cached, _ = sampled.run()
    assert "4" in cached
    assert sorted(sampled.reported("kept")) == marked[1]
    sampled.front_end.kept()
    files = server.base / "temp" / "uncertainty"
    files.rename(files.with_name("elsewhere"))  # as after a restart of the server, which empties the folder
    try:
        sampled.front_end.reload()
        expect(sampled.root).to_contain_text("Queue again to see them")
        expect(sampled.cards).to_have_count(0)
    finally:
        files.with_name("elsewhere").rename(files)


@pytest.mark.parametrize("sampled", [pytest.param(LARGE, id="large")], indirect=True)
@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "bundled-nodes2", "newer-nodes2"], indirect=True)
def test_pictures_large_and_small(sampled: Filter) -> None:
    """Every card shows its image. Enter opens it in full size, and none of the keys reach the graph."""
    page = sampled.front_end.page
    ordered, _ = sampled.marks()
    _, pictures = sampled.run()
    first = sampled.cards.first.locator("img")
    expect(first).to_have_js_property("naturalWidth", 192)
    for card, index in zip(sampled.cards.all()[:4], ordered[:4], strict=True):
        shown = fetched(sampled, card.locator("img").get_attribute("src") or "")
        wanted = np.asarray(Image.fromarray(pictures["8"][index]).resize((192, 144)))
        assert np.abs(shown.astype(float) - wanted).mean() < 3
        score, error = sampled.reported("scores")[index], sampled.reported("standard_errors")[index]
        told = re.search(r"([\d.]+) ± ([\d.]+)$", card.inner_text())
        assert told, card.inner_text()
        assert float(told[1]) == pytest.approx(score, abs=error)
        assert float(told[2]) == pytest.approx(error, rel=0.5)
        assert f"#{index}" in card.inner_text()

    before = page.evaluate(GRAPH)
    sampled.line.focus()
    page.keyboard.press("Tab")
    page.wait_for_function(FOCUSED, arg=str(ordered[0]))
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Images, best first")
    expect(dialog).to_contain_text(f"image {ordered[0]} ·")
    picture = dialog.get_by_role("figure").get_by_role("img")
    expect(picture).to_have_js_property("naturalWidth", LARGE[0])
    page.keyboard.press("ArrowRight")
    expect(dialog).to_contain_text(f"image {ordered[1]} ·")
    dialog.get_by_role("button", name="Previous image").click()
    expect(dialog).to_contain_text(f"image {ordered[0]} ·")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.wait_for_function(FOCUSED, arg=str(ordered[0]))
    sampled.root.get_by_role("button", name="Cull").click()
    expect(dialog).to_contain_text(f"image {ordered[0]} ·")
    dialog.get_by_role("button", name="Close").click()
    page.wait_for_function(FOCUSED, arg=str(ordered[0]))
    page.keyboard.press("ArrowRight")
    page.wait_for_function(FOCUSED, arg=str(ordered[1]))
    page.keyboard.press("End")
    page.wait_for_function(FOCUSED, arg=str(ordered[-1]))
    page.keyboard.press("Delete")
    page.keyboard.press("Home")
    page.wait_for_function(FOCUSED, arg=str(ordered[0]))

    grid = sampled.root.locator(".unc-grid")
    sampled.root.get_by_role("slider", name="Least size of the images").fill("192")
    sampled.front_end.until(lambda: grid.evaluate("(grid) => grid.scrollHeight > grid.clientHeight + 100"))
    box = grid.bounding_box()
    assert box
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.wheel(0, 100)
    page.wait_for_function("() => document.querySelector('.unc-grid').scrollTop > 50")
    assert page.evaluate(GRAPH) == before
    page.mouse.move(box["x"] + 50, box["y"] - 40)  # over the histogram, which does not scroll
    page.mouse.wheel(0, 100)
    page.wait_for_function("(before) => window.app.canvas.ds.scale !== before", arg=json.loads(before)[1])


def fetched(shown: Filter, url: str) -> np.ndarray:
    """The pixels of a picture on the page."""
    return np.asarray(Image.open(io.BytesIO(shown.front_end.page.request.get(url).body())))


@pytest.mark.parametrize("each_front_end", ["bundled-canvas"], indirect=True)
def test_scores_of_other_packs_are_shown_on_the_images(each_front_end: "FrontEnd", tmp_path: Path) -> None:
    """The mean rank decides; every image tells all its scores. A change of direction needs another run."""
    graph = workflow(*SMALL)
    extra = {"scores": ["4", 2], "better": "higher"}  # the sampler's own scores, of which lower is better
    graph["11"] = make("UncertaintyExtraScore", uncertainty=["4", 1], name="pickscore", **extra)
    graph["12"] = make("UncertaintyExtraScore", uncertainty=["11", 0], name="likeness", **extra)
    graph["7"]["inputs"]["uncertainty"] = ["12", 0]
    each_front_end.open_graph(graph, tmp_path / "extra.json")
    each_front_end.run()
    shown = Filter(each_front_end)
    expect(shown.cards).to_have_count(BATCH)
    of_card = "(cards) => cards.map((card) => [...card.querySelectorAll('.unc-card-score')].map((line) => line.textContent))"
    texts: list[list[str]] = shown.cards.evaluate_all(of_card)
    # Two of three scores prefer the image that the first likes least.
    assert [lines[0] for lines in texts][:: BATCH - 1] == ["mean rank 0.333", "mean rank 0.667"]
    names = ["denoised_variance", "pickscore", "likeness"]
    assert [[line.split(" ")[0] for line in lines[1:]] for lines in texts] == [names] * BATCH
    values = [float(lines[2].split(" ")[1]) for lines in texts]
    assert values == sorted(values, reverse=True)
    shown.node.center()
    each_front_end.photograph("filter-extra-scores", of=shown.node)
    shown.node.set("reject", "lowest")
    expect(shown.status.locator("em")).to_have_text("queue to score again")
    assert each_front_end.complaints == []


WIDTHS = "(cards) => cards.map((card) => card.querySelector('img').offsetWidth)"
CUT = "(cells) => cells.map((cell) => getComputedStyle(cell, '::after').content !== 'none').indexOf(true) + 1"


# In Nodes 2.0 of front-end 1.32.9, a script does not resize a node.
@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-canvas", "newer-nodes2"], indirect=True)
def test_pictures_use_the_space(sampled: Filter, request: pytest.FixtureRequest) -> None:
    """All pictures are as large as fits, in their own shape, in full colour; the slider makes them larger, and they scroll."""
    grid, picture = sampled.root.locator(".unc-grid"), sampled.cards.first.locator("img")
    ordered, _ = sampled.marks()
    assert sampled.root.locator(".unc-cell").evaluate_all(CUT) == KEEP
    colours = sampled.cards.locator("img").evaluate_all("(images) => images.map((image) => getComputedStyle(image).filter)")
    assert colours == ["none"] * BATCH
    box = picture.evaluate("(image) => [image.offsetWidth, image.offsetHeight]")
    assert box[0] / box[1] == pytest.approx(SMALL[0] / SMALL[1], abs=0.02)

    sampled.node.on("(node) => node.setSize([1000, 1900])")
    sampled.node.center()  # views out of sight are not laid out
    sampled.front_end.until(lambda: min(sampled.cards.evaluate_all(WIDTHS)) > 192)
    assert grid.evaluate("(grid) => grid.scrollHeight <= grid.clientHeight")
    expect(picture).to_have_js_property("naturalWidth", SMALL[0])
    sampled.front_end.photograph(f"filter-space-{request.node.callspec.params['each_front_end']}", sampled.node)

    sampled.root.get_by_role("slider", name="Least size of the images").fill("384")
    sampled.front_end.until(lambda: min(sampled.cards.evaluate_all(WIDTHS)) >= 384)
    assert grid.evaluate("(grid) => grid.scrollHeight > grid.clientHeight")
    sampled.line.focus()
    sampled.front_end.page.keyboard.press("Home")
    assert sampled.root.locator(".unc-cell").evaluate_all(CUT) == 0  # nothing is kept
    sampled.front_end.page.keyboard.press("ArrowRight")
    assert sampled.root.locator(".unc-cell").evaluate_all(CUT) == 1
    sampled.front_end.kept()
    sampled.front_end.reload()
    sampled.front_end.until(lambda: sampled.cards.evaluate_all(WIDTHS) and min(sampled.cards.evaluate_all(WIDTHS)) >= 384)
    assert sampled.marks()[0] == ordered


HANDS = "(cards) => cards.filter((card) => card.innerText.includes('by hand')).map((card) => Number(card.dataset.image))"


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "bundled-nodes2", "newer-canvas", "newer-nodes2"], indirect=True)
def test_verdicts_by_hand(sampled: Filter, request: pytest.FixtureRequest) -> None:
    """P, X and U on a card, its buttons, and what the next run makes of them. Undo takes them back; another seed has none."""
    page, node = sampled.front_end.page, sampled.node
    ordered, kept = sampled.marks()
    first, worst = ordered[0], ordered[-1]
    assert kept == sorted(ordered[:KEEP])
    sampled.line.focus()
    page.keyboard.press("Tab")
    page.wait_for_function(FOCUSED, arg=str(first))
    page.keyboard.press("x")
    expect(sampled.status).to_have_text(f"{KEEP} of {BATCH} kept, 1 by handqueue to apply")
    page.keyboard.press("End")
    page.keyboard.press("p")
    expect(sampled.status).to_have_text(f"{KEEP} of {BATCH} kept, 2 by handqueue to apply")
    wanted = sorted([*ordered[1:KEEP], worst])
    assert sampled.marks() == (ordered, wanted)
    assert sorted(sampled.cards.evaluate_all(HANDS)) == sorted([first, worst])
    sampled.front_end.photograph(f"filter-by-hand-{request.node.callspec.params['each_front_end']}", sampled.node)
    sampled.node.center()

    cached, pictures = sampled.run()
    assert {"4", "5", "6"} <= cached
    assert sorted(sampled.reported("kept")) == sampled.marks()[1] == wanted
    np.testing.assert_array_equal(pictures["9"], [pictures["8"][index] for index in wanted])

    # The cut passes them by, and U leaves an image to the rule.
    sampled.line.focus()
    page.keyboard.press("Home")
    assert sampled.marks()[1] == [worst]
    page.keyboard.press("End")
    assert sampled.marks()[1] == sorted(ordered[1:])
    page.keyboard.press("Tab")
    page.wait_for_function(FOCUSED, arg=str(first))
    page.keyboard.press("u")
    assert sampled.cards.evaluate_all(HANDS) == [worst]
    assert sampled.marks()[1] == list(range(BATCH))

    # The buttons of a card; a second press leaves the image to the rule.
    card = sampled.root.locator(".unc-cell").nth(1)
    reject = card.get_by_role("button", name=f"Reject image {ordered[1]} by hand")
    expect(reject).to_be_hidden()
    card.hover()
    reject.click()
    expect(reject).to_have_attribute("aria-pressed", "true")
    assert ordered[1] not in sampled.marks()[1]
    reject.click()
    assert ordered[1] in sampled.marks()[1]
    sampled.front_end.kept()  # the view tells the front-end a while after each change
    card.get_by_role("button", name=f"Keep image {ordered[1]} by hand").click()
    assert sampled.cards.evaluate_all(HANDS) == [ordered[1], worst]
    sampled.front_end.kept()
    page.keyboard.press("Control+z")
    sampled.front_end.until(lambda: sampled.cards.evaluate_all(HANDS) == [worst])  # in a new node
    assert sampled.cards.evaluate_all(HANDS) == [worst]

    # Saved with the workflow, and of these images alone.
    sampled.front_end.kept()
    sampled.front_end.reload()
    expect(sampled.cards).to_have_count(BATCH)
    assert sampled.cards.evaluate_all(HANDS) == [worst]
    by_hand = sampled.node.values()["by_hand"]
    assert by_hand.startswith('{"keep":["')
    sampled.front_end.node("UncertaintyKSampler").set("seed", 6)
    sampled.run()
    assert sampled.cards.evaluate_all(HANDS) == []
    assert "not used: 1 verdict by hand on images of other batches" in sampled.reported("text")[0]
    sampled.front_end.node("UncertaintyKSampler").set("seed", 5)
    sampled.run()
    assert sampled.cards.evaluate_all(HANDS) == [worst]
    assert node.id == sampled.node.id


@pytest.mark.parametrize("each_front_end", ["bundled-nodes2", "newer-canvas"], indirect=True)
def test_verdicts_by_thumb(sampled: Filter, request: pytest.FixtureRequest) -> None:
    """On a touch screen the buttons are always there, large enough, and do not cover the picture."""
    page = sampled.front_end.page
    first = sampled.marks()[0][0]
    session = page.context.new_cdp_session(page)
    size = page.evaluate("() => ({ width: innerWidth, height: innerHeight })")
    session.send("Emulation.setDeviceMetricsOverride", size | {"deviceScaleFactor": 1, "mobile": True})
    session.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        assert page.evaluate("() => matchMedia('(pointer: coarse)').matches")
        reject = sampled.root.get_by_role("button", name=f"Reject image {first} by hand")
        expect(reject).to_be_visible()
        button, picture = reject.bounding_box(), sampled.cards.first.locator("img").bounding_box()
        assert button
        assert picture
        assert min(button["width"], button["height"]) >= 44
        assert button["y"] >= picture["y"] + picture["height"]
        sampled.front_end.photograph(f"filter-by-thumb-{request.node.callspec.params['each_front_end']}", sampled.root)
        point = {"x": button["x"] + button["width"] / 2, "y": button["y"] + button["height"] / 2}
        session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(sampled.status).to_contain_text("1 by hand")
        assert sampled.cards.evaluate_all(HANDS) == [first]
    finally:
        session.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
        session.send("Emulation.clearDeviceMetricsOverride")
