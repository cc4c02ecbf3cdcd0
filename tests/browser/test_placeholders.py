"""Names of files: the page fills in placeholders for this pack's nodes as for ComfyUI's own; the widgets keep the patterns."""

from pathlib import Path
from typing import TYPE_CHECKING

from dev.client import make

if TYPE_CHECKING:
    from comfy_page import FrontEnd

PATTERN = "%date:yyyy%/%KSampler for tests.seed%_%date:yyyy-MM-dd%"
FIELDS = {
    "UncertaintySaveImage": "filename_prefix",
    "UncertaintyMapSave": "filename_prefix",
    "UncertaintyThresholdsSave": "filename_prefix",
    "UncertaintyCalibrate": "name",
    "SaveImage": "filename_prefix",
}
DATE = """() => {
    const now = new Date(), two = (number) => String(number).padStart(2, "0");
    return [now.getFullYear(), `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`];
}"""


def test_placeholders_are_filled_in(each_front_end: "FrontEnd", tmp_path: Path) -> None:
    graph = {
        "1": make("KSampler", seed=77),
        **{str(number): make(kind, **{field: PATTERN}) for number, (kind, field) in enumerate(FIELDS.items(), start=2)},
    }
    for node in graph.values():
        node["_meta"] = {"title": "KSampler for tests" if node["class_type"] == "KSampler" else node["class_type"]}
    each_front_end.open_graph(graph, tmp_path / "names.json")
    each_front_end.fix_seeds()
    year, day = each_front_end.page.evaluate(DATE)
    exported = each_front_end.exported()
    for kind, field in FIELDS.items():
        node = each_front_end.node(kind)
        assert node.values()[field] == PATTERN
        assert exported[node.id]["inputs"][field] == f"{year}/77_{day}", kind
    saved = [node for node in each_front_end.saved()["nodes"] if node["type"] in FIELDS]
    assert len(saved) == len(FIELDS) and all(PATTERN in node["widgets_values"] for node in saved)
    assert each_front_end.complaints == []
