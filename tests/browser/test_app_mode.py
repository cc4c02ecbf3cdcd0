"""App mode of newer front-ends: the example's layout, its run, culling, and the wheel over the grid."""

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from dev.bootstrap import ROOT

if TYPE_CHECKING:
    from comfy_page import FrontEnd

EXAMPLE = ROOT / "example_workflows" / "best_of_16.json"
PROMPT = "cat face with tears of joy"


@pytest.mark.parametrize("each_front_end", ["newer-canvas"], indirect=True)
def test_best_of_16_is_an_app(each_front_end: "FrontEnd") -> None:
    front_end, page = each_front_end, each_front_end.page
    front_end.open(EXAMPLE)
    front_end.fix_seeds()
    front_end.node("UncertaintyKSampler").set("steps", 4)
    # Otherwise ComfyUI's tour lies over the app.
    page.evaluate("() => window.app.extensionManager.setting.set('Comfy.OnboardingCoachmarks.Seen', ['appMode'])")
    front_end.command("Comfy.ToggleLinear")
    panel = page.get_by_test_id("linear-widgets")
    items = panel.get_by_test_id("app-mode-widget-item")
    expect(panel.get_by_test_id("builder-widget-label")).to_have_text(["prompt", "number of images", "keep", "images by score"])

    prompt, number, keep, grid = items.all()
    prompt.locator("textarea").fill(PROMPT)
    for field, value in ((number, "6"), (keep, "3")):
        field.locator("input").fill(value)
        field.locator("input").press("Tab")
    front_end.run()
    expect(grid.locator(".unc-card")).to_have_count(6)
    expect(grid.locator(".unc-card.unc-rejected")).to_have_count(3)
    assert front_end.node("CLIPTextEncode").values()["text"] == PROMPT
    expect(page.get_by_text("kept_0").first).to_be_visible()
    front_end.photograph("app-mode")

    # Verdicts and stars of the culling view; the next run follows them.
    cards = grid.locator(".unc-card")
    best = cards.first.get_attribute("data-image")
    cards.first.click()
    culling = page.get_by_role("dialog", name="Images, best first")
    expect(culling).to_be_visible()
    front_end.photograph("app-mode-culling")
    for key in ("x", "5", "Escape"):
        page.keyboard.press(key)
    expect(culling).to_have_count(0)
    expect(grid.locator(f".unc-card[data-image='{best}']")).to_contain_text("✕ rejected")
    expect(cards.nth(1)).to_contain_text("★★★★★")
    front_end.run()
    expect(grid.locator(".unc-filter-status em")).to_have_count(0)
    expect(grid.locator(f".unc-card[data-image='{best}']")).to_contain_text("✕ rejected")

    # The wheel over the grid moves the grid or the list around it, and not the graph behind them.
    page.set_viewport_size({"width": 1400, "height": 600})
    scale = page.evaluate("() => window.app.canvas.ds.scale")
    grid.locator(".unc-card").first.hover()
    page.mouse.wheel(0, 400)
    page.wait_for_function(
        """() => {
            const list = document.querySelector("[data-testid=linear-widgets]");
            return [list, ...list.querySelectorAll("*")].some((each) => each.scrollTop > 0);
        }"""
    )
    assert page.evaluate("() => window.app.canvas.ds.scale") == scale
    assert front_end.complaints == []
