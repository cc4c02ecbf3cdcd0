"""Which inputs of a node are in sight, and that all of them keep their values."""

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from dev.bootstrap import ROOT

if TYPE_CHECKING:
    from conftest import FrontEnd

    from comfy_page import Node

EXAMPLES = ROOT / "example_workflows"
# Nodes 2.0 of older front-ends shows every input.
FOLDING = ["bundled-canvas", "newer-canvas", "newer-nodes2"]
# The widgets that a renderer shows.
SHOWN = """(node, vue) => {
    const own = node.widgets.filter(({ name, type }) => type !== "custom" && name !== "view");
    if (!vue) return own.filter((widget) => node.isWidgetVisible(widget)).map(({ name }) => name);
    const part = document.querySelector(`[data-node-id="${node.id}"]`);
    const leaves = [...part.querySelectorAll("*")].filter((each) => !each.children.length);
    const texts = leaves.filter((each) => each.getBoundingClientRect().height > 0).map((each) => each.textContent.trim());
    return own.map(({ name }) => name).filter((name) => texts.includes(name));
}"""


def shown(node: "Node") -> set[str]:
    """Names of the widgets that are in sight."""
    return set(node.on(SHOWN, node.front_end.vue))


@pytest.mark.parametrize("each_front_end", FOLDING, indirect=True)
def test_the_filter_shows_the_fields_of_its_mode(each_front_end: "FrontEnd", request: pytest.FixtureRequest) -> None:
    each_front_end.open(EXAMPLES / "best_of_16.json")
    found = each_front_end.node("UncertaintyScoreFilter")
    found.center()
    before = found.values()
    modes = {
        "keep_best": {"keep"},
        "percentile": {"percentile"},
        "threshold": {"threshold"},
        "choose": set(),
        "reference": {"percentile", "across_prompts"},
    }
    varied = set().union(*modes.values())
    for mode, fields in modes.items():
        found.set("mode", mode)
        each_front_end.until(lambda fields=fields: shown(found) & varied == fields)  # type: ignore[misc]
        each_front_end.photograph(f"fields-{mode}-{request.node.callspec.params['each_front_end']}", of=found)
    assert "by_hand" not in shown(found)
    assert found.values() == before | {"mode": "reference"}
    each_front_end.load(each_front_end.saved())
    again = each_front_end.node("UncertaintyScoreFilter")
    again.center()
    each_front_end.until(lambda: shown(again) & varied == modes["reference"])
    assert again.values() == before | {"mode": "reference"}
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", FOLDING, indirect=True)
def test_few_inputs_of_the_sampler_are_in_sight(each_front_end: "FrontEnd", request: pytest.FixtureRequest) -> None:
    """What is folded keeps its value, and comes into sight when the workflow links it."""
    each_front_end.open(EXAMPLES / "first_steps.json")
    sampler = each_front_end.node("UncertaintyKSampler")
    sampler.center()
    folded = {"percentile", "window_start", "window_end"}
    stock = {"seed", "control_after_generate", "steps", "cfg", "sampler_name", "scheduler", "denoise"}
    before = sampler.values()
    each_front_end.until(lambda: not shown(sampler) & folded)
    assert shown(sampler) - stock == {"samples", "strength"}
    each_front_end.photograph(f"folded-{request.node.callspec.params['each_front_end']}", of=sampler)
    sampler.on("(node) => node.toggleAdvanced()")
    each_front_end.until(lambda: folded <= shown(sampler))
    each_front_end.photograph(f"unfolded-{request.node.callspec.params['each_front_end']}", of=sampler)
    sampler.on("(node) => node.toggleAdvanced()")
    each_front_end.until(lambda: not shown(sampler) & folded)
    assert sampler.values() == before
    sampler.on(
        """(node) => {
            const source = window.LiteGraph.createNode("PrimitiveFloat");
            node.graph.add(source);
            source.connect(0, node, node.findInputSlot("window_start"));
        }"""
    )
    workflow = each_front_end.saved()
    for node in workflow["nodes"]:
        node.pop("showAdvanced", None)
    each_front_end.load(workflow)
    sampler = each_front_end.node("UncertaintyKSampler")
    sampler.center()
    each_front_end.until(lambda: "percentile" in shown(sampler))  # newer front-ends show a linked input as a socket alone
    assert sampler.values() == before
    assert each_front_end.complaints == []


@pytest.mark.parametrize("each_front_end", ["bundled-canvas", "newer-nodes2"], indirect=True)
def test_the_sampler_says_what_measuring_adds(each_front_end: "FrontEnd", request: pytest.FixtureRequest) -> None:
    each_front_end.open(EXAMPLES / "first_steps.json")
    sampler = each_front_end.node("UncertaintyKSampler")
    sampler.center()
    values = {"steps": 50, "samples": 5, "window_start": 0.9, "window_end": 0.98, "strength": 0, "sampler_name": "euler"}
    for name, value in values.items():
        sampler.set(name, value)
    line = sampler.view
    expect(line).to_have_text("Adds 20 model calls (+40 %)")
    expect(line).to_have_attribute("title", "Adds 20 model calls (+40 %)")
    each_front_end.photograph(f"cost-{request.node.callspec.params['each_front_end']}", of=sampler)
    sampler.set("sampler_name", "heun")
    expect(line).to_have_text("Adds 20 model calls")
    sampler.set("samples", 0)
    expect(line).to_have_text("Adds no model calls")
    part = each_front_end.add("UncertaintyKSamplerAdvanced")
    for name, value in {"steps": 50, "window_start": 0.5, "window_end": 1, "end_at_step": 10000, "start_at_step": 40}.items():
        part.set(name, value)
    part.center()
    expect(part.view).to_have_text("Adds 25 model calls (+250 %)")
    part.set("start_at_step", 50)
    expect(part.view).to_have_text("Adds no model calls")
    assert each_front_end.complaints == []
