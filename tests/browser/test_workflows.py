"""Shipped workflow files in the real front-end: they load, give pictures, and are what the demo queues."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.bootstrap import BUNDLED, ROOT, comfyui
from dev.demo import WORKFLOW

if TYPE_CHECKING:
    from conftest import FrontEnd

FILES = sorted((ROOT / "example_workflows").glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_loads_and_gives_pictures(front_end: "FrontEnd", file: Path) -> None:
    front_end.open(file)
    unknown = front_end.page.evaluate("() => window.app.graph.nodes.filter((node) => node.has_errors).map((node) => node.type)")
    assert unknown == []
    front_end.run()
    # Shown in the node, not only saved: the browser has loaded every picture.
    front_end.page.wait_for_function(
        """() => window.app.graph.nodes
            .filter((node) => ["SaveImage", "UncertaintyMapPreview"].includes(node.type))
            .every((node) => node.imgs?.length && node.imgs.every((image) => image.naturalWidth > 0))"""
    )
    front_end.photograph(file.stem)
    assert front_end.complaints == []


def test_demo_queues_what_the_file_exports(front_end: "FrontEnd") -> None:
    if comfyui() != BUNDLED:
        pytest.skip("stock nodes have other inputs in other versions")
    front_end.open(ROOT / "example_workflows" / f"{WORKFLOW.name.partition('.')[0]}.json")
    assert front_end.exported() == json.loads(WORKFLOW.read_text())


def test_saved_workflow_keeps_what_was_typed(front_end: "FrontEnd") -> None:
    """Loading, changing and saving a file: every value comes back, in every node of ours."""
    front_end.open(FILES[0])
    before = front_end.exported()
    saved = front_end.page.evaluate("() => JSON.stringify(window.app.graph.serialize())")
    front_end.page.evaluate("(text) => window.app.loadGraphData(JSON.parse(text))", saved)
    assert front_end.exported() == before
