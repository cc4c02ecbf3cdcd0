"""``make demo``: run the example workflow in a real ComfyUI and write the images, their maps and scores to ``demo_output``."""

import csv
import hashlib
import io
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from .bootstrap import DEV, ROOT, STAMP, SetupError, comfyui, digest, discard, is_whole, shown, write_stamp
from .client import Graph, Outputs, PromptFailed, PromptRejected, node_with, run, view
from .contact_sheet import Picture, contact_sheet
from .server import ComfyServer, ServerError

WORKFLOW = DEV / "best_of_16.api.json"
WEIGHTS = ROOT / "demo" / "emoji64.safetensors"
OUTPUT = ROOT / "demo_output"
CODE = ("__init__.py", "uncertainty/**/*.py", "nodes/**/*.py", "demo/*.py", "dev/demo.py", "dev/contact_sheet.py")


def made_from() -> str:
    """What the result depends on: the workflow, the weights, the code and the ComfyUI in use."""
    sources = [WORKFLOW, WEIGHTS, *sorted(path for pattern in CODE for path in ROOT.glob(pattern))]
    return digest(str(comfyui()), *(hashlib.sha256(path.read_bytes()).hexdigest() for path in sources))


class SamplingBar:
    """One progress bar for each node that reports steps."""

    def __init__(self, graph: Graph) -> None:
        """Bars are named after the classes of the graph's nodes."""
        self.graph = graph
        self.bars: dict[str, tqdm[Any]] = {}

    def __call__(self, node: str, value: int, maximum: int) -> None:
        """Show that a node has done ``value`` of ``maximum`` steps."""
        if node not in self.bars:
            self.bars[node] = tqdm(total=maximum, desc=self.graph[node]["class_type"], unit="step", file=sys.stdout)
        bar = self.bars[node]
        bar.update(value - bar.n)
        if value >= maximum:
            bar.close()


def saved_images(url: str, graph: Graph, outputs: Outputs, prefix: str) -> list[Image.Image]:
    """The images that the SaveImage node with this prefix saved, in order."""
    files = outputs[node_with(graph, "SaveImage", filename_prefix=prefix)]["images"]
    return [Image.open(io.BytesIO(view(url, file))) for file in files]


def lay_out(folder: Path, graph: Graph, outputs: Outputs, images: list[Image.Image], overlays: list[Image.Image]) -> None:
    """Write the images, overlays, contact sheet and scores to a folder."""
    number = node_with(graph, "UncertaintyScoreFilter")
    judged = outputs[number]
    sampler = graph[node_with(graph, "UncertaintyKSampler")]["inputs"]
    prompt, seed = graph[sampler["positive"][0]]["inputs"]["text"], sampler["seed"]
    pictures = [
        Picture(image, overlay, index, score, error, index in judged["kept"])
        for index, (image, overlay, score, error) in enumerate(
            zip(images, overlays, judged["scores"], judged["standard_errors"], strict=True)
        )
    ]
    pictures.sort(key=lambda picture: picture.score, reverse=graph[number]["inputs"]["reject"] == "lowest")
    (folder / "images").mkdir()
    (folder / "overlays").mkdir()
    with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "index", "score", "standard_error", "kept", "rank", "seed"])
        for rank, picture in enumerate(pictures, 1):
            name = f"{picture.index:02d}.png"
            picture.image.save(folder / "images" / name)
            picture.overlay.save(folder / "overlays" / name)
            kept = "yes" if picture.kept else "no"
            table.writerow([f"images/{name}", picture.index, picture.score, picture.standard_error, kept, rank, seed])
    quantity = judged["quantity"][0].replace("_", " ")
    subtitle = f"{len(pictures)} images of seed {seed}, best score first: {quantity} ± standard error; beside each image, its map"
    contact_sheet(pictures, f"“{prompt}”, sorted by uncertainty", subtitle).save(folder / "contact_sheet.png")


def make(folder: Path, stamp: str) -> None:
    """Run the workflow and write the folder. It appears in its place when it is complete."""
    graph: Graph = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    print("starting ComfyUI, up to two minutes …", flush=True)
    with ComfyServer() as server:
        print(f"sampling {WORKFLOW.name.partition('.')[0]} in {shown(comfyui())} …", flush=True)
        outputs = run(server.url, graph, SamplingBar(graph))
        images = saved_images(server.url, graph, outputs, "uncertainty/images")
        overlays = saved_images(server.url, graph, outputs, "uncertainty/overlays")
    partial = OUTPUT / ".partial"
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    lay_out(partial, graph, outputs, images, overlays)
    write_stamp(partial, stamp)
    discard(folder)
    partial.replace(folder)


def main() -> None:
    """Command line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the server is stopped
    folder = OUTPUT / WORKFLOW.name.partition(".")[0]
    try:
        if not WEIGHTS.is_file():
            raise SetupError(f"{shown(WEIGHTS)} is missing: clone the whole repository, or train the model with `make train`.")
        stamp = made_from()
        if is_whole(folder, stamp):
            print("Nothing has changed since the last run. Its result:")
        else:
            make(folder, stamp)
            print("Made:")
    except (SetupError, ServerError, PromptRejected, PromptFailed, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped")
    for path in sorted(folder.iterdir()):
        if path.name != STAMP:
            count = f"/  {len(list(path.iterdir()))} pictures" if path.is_dir() else ""
            print(f"  {shown(path)}{count}")


if __name__ == "__main__":
    main()
