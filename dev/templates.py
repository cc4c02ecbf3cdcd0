"""Swap the samplers of ComfyUI's example templates for this pack's in its front-end, and let ComfyUI validate the result.

    python3 dev/bootstrap.py run -m dev.templates FOLDER

FOLDER holds the unpacked packages ``comfyui-workflow-templates-*``. Model and media files of the names that the templates use are
made, empty, in a temporary folder: nothing is loaded, but the loaders list them.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from playwright.sync_api import sync_playwright

from uncertainty_runs.comfyui import Comfy
from uncertainty_runs.graph import Graph, is_link
from uncertainty_runs.samplers import TWINS

from .bootstrap import ROOT, comfyui
from .chromium import find_chromium
from .launcher import mend_torchaudio, mend_torchvision
from .server import ComfyServer

sys.path.append(str(ROOT / "tests" / "support"))
from comfy_page import opened

PARTNER = "api_"  # what the names of templates of paid services start with
MODEL_FILES = {".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".onnx", ".sft", ".gguf"}
MEDIA_FILES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", ".webm", ".mp3", ".wav", ".flac", ".ogg", ".glb", ".obj"}
# Nodes that a template leaves off are turned on, so that every sampler is in the exported graph.
SWAP = """async ([workflow, kinds]) => {
    const { app } = window;
    await app.loadGraphData(workflow, true, true, null, { showMissingNodesDialog: false, showMissingModelsDialog: false });
    const root = app.rootGraph ?? app.graph;
    const graphs = [root, ...root.subgraphs.values()];
    for (const node of graphs.flatMap(({ nodes }) => nodes)) node.mode = 0;
    // Nodes of packs that are not installed have no class.
    const known = (key, value) => (key === "class_type" ? (value ?? "") : value);
    const exported = async () => JSON.parse(JSON.stringify((await app.graphToPrompt()).output, known));
    const slots = graphs.flatMap(({ inputs, outputs }) => [...(inputs ?? []), ...(outputs ?? [])]);
    const border = () => slots.map(({ linkIds }) => linkIds.length);
    const [plain, whole] = [await exported(), border()];
    for (const node of graphs.flatMap(({ nodes }) => nodes.filter(({ type }) => kinds.includes(type))))
        app.collectNodeMenuItems(node).find((each) => each?.content === "Measure uncertainty here")?.callback();
    return { plain, measuring: await exported(), cut: border().some((count, place) => count !== whole[place]) };
}"""


@dataclass(frozen=True)
class Exported:
    """A template in API format, as it is and with its samplers swapped; ``cut``: links to the border of a subgraph are lost."""

    name: str
    plain: Graph
    measuring: Graph
    cut: bool

    @property
    def samplers(self) -> str:
        """The kinds of its samplers."""
        return " + ".join(sorted({node["class_type"] for node in self.plain.values()} & TWINS.keys()))


def templates(folder: Path) -> dict[str, dict[str, Any]]:
    """All templates below a folder, by name."""
    read = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.rglob("templates/*.json"))}
    return {name: content for name, content in read.items() if isinstance(content, dict) and "nodes" in content}


def has_sampler(template: dict[str, Any]) -> bool:
    """Whether a template samples on this machine, also inside a subgraph."""
    graphs = [template, *template.get("definitions", {}).get("subgraphs", [])]
    return any(node["type"] in TWINS for graph in graphs for node in graph["nodes"])


def all_exported(base: Path, sampling: dict[str, dict[str, Any]]) -> list[Exported]:
    """Load templates into the front-end one by one, swap their samplers, and export each before and after."""
    found = []
    with sync_playwright() as playwright, ComfyServer(base=base, log=base / "server.log") as server:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        with opened(browser, server) as front_end:
            for name, template in sampling.items():
                graphs = front_end.page.evaluate(SWAP, [template, list(TWINS)])
                found.append(Exported(name, **graphs))
        browser.close()
    return found


def file_names(graph: Graph) -> Iterator[str]:
    """Names of model and media files among the inputs of a graph."""
    for value in (value for node in graph.values() for value in node["inputs"].values()):
        name = value.removesuffix(" [input]") if isinstance(value, str) else ""
        path = PurePosixPath(name.replace("\\", "/"))
        is_file = "\n" not in name and path.suffix.lower() in MODEL_FILES | MEDIA_FILES
        if is_file and not path.is_absolute() and ".." not in path.parts:
            yield str(path)


def supply(base: Path, names: set[str]) -> None:
    """Make empty files: models in every folder of models, and media where the nodes that load them look."""
    import folder_paths

    models = [Path(path) for paths, _ in folder_paths.folder_names_and_paths.values() for path in paths]
    models = [path for path in models if path.is_relative_to(base / "models")]
    media = [base / "input", base / "input" / "3d"]
    for name in names:
        for folder in models if PurePosixPath(name).suffix.lower() in MODEL_FILES else media:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()


def complaints(comfy: Comfy, graph: Graph) -> set[str]:
    """What ComfyUI's validation says against a graph."""
    checked = asyncio.run_coroutine_threadsafe(comfy.validate("template", graph, None), comfy.loop).result()
    is_valid, error, _, node_errors = checked
    found = {
        f"{plain_kind(node['class_type'])}: {each['message']}: {each['details']}"
        for node in node_errors.values()
        for each in node["errors"]
    }
    return found if is_valid or found else {f"{error['message']}: {error['details']}"}


def plain_kind(kind: str) -> str:
    """The node that one of this pack stands for, and SamplerCustom for its parts; other nodes are their own."""
    plain = {twin: plain for plain, twin in TWINS.items()}.get(kind, kind)
    return "SamplerCustom" if plain in ("SamplerCustomAdvanced", "RandomNoise", "CFGGuider") else plain


def inputs(graph: Graph) -> Counter[tuple[str, str, str]]:
    """All inputs of a graph without ids: the kind of the node, the name, and the value or the kind and output that is linked."""
    kind = {number: plain_kind(node["class_type"]) for number, node in graph.items()}
    return Counter(
        (kind[number], name, f"{kind.get(value[0])} {value[1]}" if is_link(value) else json.dumps(value))
        for number, node in graph.items()
        for name, value in node["inputs"].items()
        if node["class_type"] != "SamplerCustom" or name not in becomes_a_node(node)
    )


def becomes_a_node(custom: dict[str, Any]) -> tuple[str, ...]:
    """The inputs of a SamplerCustom that its parts do not have: RandomNoise or DisableNoise stand for them."""
    return ("add_noise",) if custom["inputs"]["add_noise"] else ("add_noise", "noise_seed")


def verdict(comfy: Comfy, template: Exported) -> tuple[str, str]:
    """How a template fares, in words for a table, and why."""
    left = sorted({node["class_type"] for node in template.measuring.values()} & TWINS.keys())
    if left:
        return "not swapped", ", ".join(left)
    if lost := inputs(template.plain) - inputs(template.measuring):
        return "values or links lost", "; ".join(" ".join(each) for each in lost)
    if template.cut:
        return "links to the border of a subgraph lost", ""
    own = complaints(comfy, template.plain)
    if added := complaints(comfy, template.measuring) - own:
        return "refused", "; ".join(sorted(added))
    return ("refused without this pack too", "; ".join(sorted(own))) if own else ("valid", "")


def report(comfy: Comfy, found: list[Exported]) -> None:
    """Print the table, and below it every template that is not valid."""
    verdicts = {template.name: verdict(comfy, template) for template in found}
    table = Counter((template.samplers, verdicts[template.name][0]) for template in found)
    print("| samplers | result | templates |\n|---|---|---|")
    for (samplers, result), count in sorted(table.items()):
        print(f"| {samplers} | {result} | {count} |")
    for name, (result, why) in verdicts.items():
        if result != "valid":
            print(f"\n{name}: {result}: {why}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m dev.templates", description="Swap and validate ComfyUI's example templates.")
    parser.add_argument("folder", type=Path, help="unpacked packages comfyui-workflow-templates-*")
    read = templates(parser.parse_args().folder)
    sampling = {name: template for name, template in read.items() if has_sampler(template)}
    partner = sum(name.startswith(PARTNER) for name in read.keys() - sampling.keys())
    print(f"{len(read)} templates, {len(sampling)} with a sampler; of the others {partner} use paid services.\n")
    with tempfile.TemporaryDirectory() as folder:
        found = all_exported(Path(folder), sampling)
        mend_torchvision()
        mend_torchaudio()
        comfy = Comfy(comfyui(), ["--base-directory", folder])
        supply(Path(folder), {name for template in found for name in file_names(template.plain)})
        report(comfy, found)


if __name__ == "__main__":
    main()
