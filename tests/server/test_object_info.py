"""The node interface equals a golden file, which ``pytest tests/server --update-golden`` rewrites."""

import json
from pathlib import Path

import pytest

from dev.bootstrap import BUNDLED, comfyui
from dev.client import get
from dev.server import NODES, ComfyServer

GOLDEN = Path(__file__).with_name("object_info.json")
BORROWED = ("sampler_name", "scheduler")  # their choices come from ComfyUI
FILES = "file"  # its choices are the files in ComfyUI's folders


def test_node_interface_is_the_golden_one(server: ComfyServer, pytestconfig: pytest.Config) -> None:
    if comfyui() != BUNDLED:
        pytest.skip("the golden file is that of the bundled ComfyUI; others describe the same nodes in other words")
    info = json.loads(get(server.url, "/object_info"))
    ours = {name: node for name, node in info.items() if node["python_module"] == "custom_nodes.uncertainty-sampling"}
    assert sorted(ours) == sorted(NODES)
    for node in ours.values():
        for name in BORROWED:
            if name in node["input"]["required"]:
                stock = info["KSampler"]["input"]["required"][name][0]
                assert choices(node, name) == stock
                choices(node, name)[:] = ["as KSampler"]
        if FILES in node["input"].get("required", {}):
            choices(node, FILES).clear()
    if pytestconfig.getoption("--update-golden"):
        GOLDEN.write_text(json.dumps(ours, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    assert ours == json.loads(GOLDEN.read_text()), "the node interface changed: see shared workflows before --update-golden"


def choices(node: dict, name: str) -> list[str]:
    """The choices of a combo input, where V3 nodes put them."""
    kind, settings = node["input"]["required"][name]
    return settings["options"] if kind == "COMBO" else kind
