"""Batches drawn on a server and kept in a folder: whole or absent, in a fixed order, gone on with where they were stopped."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..metadata import Known, read
from ..whole import whole
from .server import Graph, Server
from .workflow import MAP, SAVE, Workflow

IDENTITY = "run.json"


@dataclass(frozen=True)
class Batch:
    """One run of a graph: its place in the evaluation, what it draws, and the graph."""

    number: int
    prompt: str
    seed: int
    graph: Graph


@dataclass(frozen=True)
class Drawn:
    """One image: its file, what it shows, the seed and place in its batch that made it."""

    path: Path
    prompt: str
    seed: int
    place: int

    def known(self) -> Known:
        """Its scores.

        Raises:
            ValueError: the file has none.
        """
        known = read(self.path)
        if known is None:
            raise ValueError(f"{self.path.name} has no scores: ComfyUI was started with --disable-metadata; start it without.")
        return known


def plan(prompts: Sequence[str], count: int, size: int, seed: int) -> list[tuple[str, int]]:
    """Prompt and seed of each batch of ``size`` images, at least ``count`` images in all: every prompt once, then again."""
    batches = -(-count // size)
    return [(prompts[number % len(prompts)], seed + number) for number in range(batches)]


def saved_under(folder: Path) -> str:
    """Where ComfyUI keeps its own copies of a folder's images, below its output folder."""
    return f"{folder.parent.name}/{folder.name}"


def arm(
    folder: Path, workflow: Workflow, plan: Sequence[tuple[str, int]], size: int | None = None, *, maps: bool = False
) -> list[Batch]:
    """The batches of a plan as a workflow draws them."""
    return [
        Batch(number, prompt, seed, workflow.drawing(prompt, seed, size).saving(saved_under(folder), maps=maps))
        for number, (prompt, seed) in enumerate(plan)
    ]


def collect(server: Server, batches: Sequence[Batch], folder: Path, say: Callable[[str], None] | None = None) -> list[Drawn]:
    """Draw what the folder lacks and return all of it, in order.

    Args:
        server: a running ComfyUI.
        batches: all of the evaluation.
        folder: ``images/``, ``maps/`` and one small file a batch come into it.
        say: told of progress; standard error if None.

    Raises:
        ValueError: the folder holds another evaluation.
        ServerError: ComfyUI refused, failed or is gone.
    """
    say = say or (lambda line: print(line, file=sys.stderr, flush=True))
    _claim(folder, batches)
    missing = [batch for batch in batches if not _record(folder, batch).is_file()]
    if len(missing) < len(batches):
        say(f"{folder.name}: {len(batches) - len(missing)} of {len(batches)} batches are there already.")
    began = time.monotonic()
    for done, batch in enumerate(missing):
        _draw(server, batch, folder)
        each = (time.monotonic() - began) / (done + 1)
        left = each * (len(missing) - done - 1)
        say(f"{folder.name}: batch {batch.number + 1} of {len(batches)}, {each:.1f} s each, {_duration(left)} left")
    found = []
    for batch in batches:
        for place, name in enumerate(json.loads(_record(folder, batch).read_text())["images"]):
            found.append(Drawn(folder / "images" / name, batch.prompt, batch.seed, place))
    return found


def map_of(folder: Path, batch: int) -> Path:
    """The file of a batch's map."""
    return folder / "maps" / f"{batch:05}.safetensors"


def _draw(server: Server, batch: Batch, folder: Path) -> None:
    began = time.monotonic()
    outputs = server.run(batch.graph)
    seconds = time.monotonic() - began
    names = []
    for place, file in enumerate(outputs[SAVE]["images"]):
        name = f"{batch.number:05}_{place:03}.png"
        write_whole(folder / "images" / name, server.view(file))
        names.append(name)
    if MAP in batch.graph:
        (file,) = outputs[MAP]["files"]
        write_whole(map_of(folder, batch.number), server.view(file))
    record = {"prompt": batch.prompt, "seed": batch.seed, "seconds": round(seconds, 3), "images": names}
    write_whole(_record(folder, batch), json.dumps(record).encode())  # last: it says that the rest is there


def _record(folder: Path, batch: Batch) -> Path:
    return folder / "batches" / f"{batch.number:05}.json"


def seconds_a_batch(folder: Path) -> list[float]:
    """How long each batch took."""
    return [float(json.loads(path.read_text())["seconds"]) for path in sorted((folder / "batches").glob("*.json"))]


def _claim(folder: Path, batches: Sequence[Batch]) -> None:
    """Mark the folder as that of this evaluation; a longer one of the same plan may go on in it."""
    identity = hashlib.sha256(json.dumps(batches[0].graph, sort_keys=True).encode()).hexdigest()
    path = folder / IDENTITY
    if path.is_file():
        if json.loads(path.read_text())["graph"] != identity:
            raise ValueError(f"{folder} holds an evaluation of another workflow or other settings: give another --out.")
        return
    write_whole(path, json.dumps({"graph": identity, "first": batches[0].graph}, indent=1).encode())


def write_whole(path: Path, content: bytes) -> None:
    """A file, whole or not at all."""
    with whole(path) as unfinished:
        unfinished.write_bytes(content)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min" if minutes else f"{seconds:.0f} s"
