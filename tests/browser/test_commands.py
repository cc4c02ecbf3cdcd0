"""The pack's commands, by the keys that they have until the user binds others."""

from pathlib import Path

import pytest
from playwright.sync_api import expect
from test_filter import KEEP, Filter, sampled  # noqa: F401 (fixture)
from test_ledger_tab import workflow

from comfy_page import FrontEnd

FRONT_ENDS = ["bundled-canvas", "newer-nodes2"]
STEPS = 7  # the tests of the ledger know their images by another number


@pytest.mark.parametrize("each_front_end", FRONT_ENDS, indirect=True)
def test_keys_reach_the_filter(sampled: Filter) -> None:  # noqa: F811
    page = sampled.front_end.page
    ordered, _ = sampled.marks()
    page.locator("#graph-canvas").focus()
    for kept in (KEEP - 1, KEEP - 2):
        page.keyboard.press("Shift+X")
        sampled.front_end.until(lambda kept=kept: sampled.marks()[1] == sorted(ordered[:kept]))
    page.keyboard.press("Shift+C")
    culling = page.get_by_role("dialog", name="Images, best first")
    expect(culling).to_be_visible()
    page.keyboard.press("Shift+C")  # ComfyUI's keys rest while it is open
    expect(page.get_by_role("dialog")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(culling).to_have_count(0)
    page.keyboard.press("Shift+X")  # now a card has the focus: still the worst of those that are kept
    sampled.front_end.until(lambda: sampled.marks()[1] == sorted(ordered[: KEEP - 3]))
    assert sampled.node.values()["by_hand"] == ""
    sampled.node.set("mode", "reference")  # which no stray key should leave
    page.keyboard.press("Shift+X")
    expect(page.get_by_text("No filter has an image to reject").first).to_be_visible()
    assert sampled.node.values()["mode"] == "reference"


@pytest.mark.parametrize("each_front_end", FRONT_ENDS, indirect=True)
def test_without_a_filter_the_saved_images_are_looked_at(each_front_end: FrontEnd, tmp_path: Path) -> None:
    page = each_front_end.page
    each_front_end.open_graph(workflow(9, STEPS), tmp_path / "saving.json")
    each_front_end.fix_seeds()
    each_front_end.run()
    page.locator("#graph-canvas").focus()
    page.keyboard.press("Shift+X")
    expect(page.get_by_text("No filter has an image to reject").first).to_be_visible()  # the second is for screen readers
    page.keyboard.press("Shift+C")
    culling = page.get_by_role("dialog", name="Recorded images")
    expect(culling).to_be_visible()
    page.keyboard.press("Escape")
    expect(culling).to_have_count(0)
    assert each_front_end.complaints == []
