"""Coverage-guided fuzzing of everything that reads files or typed text: ``python -m dev.fuzz [TARGET …] [--seconds N]``.

Each input is a valid file with edits: bytes changed, removed or inserted, and entries of its JSON header replaced. A reader must
return a usable value or raise ValueError or OSError. Anything else is a finding, and its input is kept in ``.runtime/fuzz``.
"""

import argparse
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from .bootstrap import ROOT, RUNTIME, shown

FINDINGS = RUNTIME / "fuzz"
MOST_EDITS = 6
# Stands for lists nested too deeply to be made by json.dumps.
DEEP = "too deep"
LENGTH = 8  # bytes at the start of a safetensors file that hold the length of its header


class Edits:
    """Turns fuzzed bytes into decisions."""

    def __init__(self, data: bytes) -> None:
        import atheris

        self.provider = atheris.FuzzedDataProvider(data)

    def number(self, low: int, high: int) -> int:
        """An integer from low to high."""
        return int(self.provider.ConsumeIntInRange(low, high))

    def of(self, valid: bytes) -> bytes:
        """A valid file with some edits."""
        content = bytearray(valid)
        for _ in range(self.number(0, MOST_EDITS)):
            kind = self.number(0, 4)
            place = self.number(0, max(0, len(content) - 1))
            if kind == 0 and content:
                content[place] = self.number(0, 255)
            elif kind == 1:
                del content[place : place + self.number(1, 64)]
            elif kind == 2:
                content[place:place] = self.provider.ConsumeBytes(self.number(0, 32))
            else:
                content = bytearray(self._header(bytes(content)))
        return bytes(content)

    def value(self, depth: int = 2) -> Any:
        """Any JSON value."""
        kind = self.number(0, 10 if depth else 8)
        simple = (
            None,
            True,
            self.number(-3, 2**40),
            self.provider.ConsumeFloat(),
            self.provider.ConsumeUnicode(12),
            -1,
            10**400,
            2.0 ** self.number(0, 1023),
            DEEP,
        )
        if kind < len(simple):
            return simple[kind]
        values = [self.value(depth - 1) for _ in range(self.number(0, 4))]
        return values if kind == len(simple) else {str(index): value for index, value in enumerate(values)}

    def text(self) -> str:
        """The JSON text of any value, with some edits."""
        return self.of(dumped(self.value()).encode()).decode(errors="surrogateescape")

    def _header(self, content: bytes) -> bytes:
        """The file with an entry of its JSON header replaced or removed, and the length corrected."""
        with suppress(ValueError, struct.error, KeyError, AttributeError, TypeError, RecursionError):
            (size,) = struct.unpack("<Q", content[:LENGTH])
            header = json.loads(content[LENGTH : LENGTH + size])
            about = json.loads(header["__metadata__"]["uncertainty"])
            where = about if self.number(0, 1) else header
            name = sorted(where)[self.number(0, len(where) - 1)]
            if self.number(0, 3):
                where[name] = self.value()
            else:
                del where[name]
            header["__metadata__"]["uncertainty"] = dumped(about)
            made = json.dumps(header).encode()
            return struct.pack("<Q", len(made)) + made + content[LENGTH + size :]
        return content


def dumped(value: Any) -> str:
    """A value as JSON."""
    return json.dumps(value).replace(f'"{DEEP}"', "[" * 5000 + "]" * 5000)


def targets(folder: Path) -> dict[str, Callable[[bytes], None]]:
    """By name, the functions that are called with fuzzed bytes."""
    import torch
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from described_nodes import describe
    from made_maps import made
    from uncertainty.calibration import Calibration
    from uncertainty.choosing.cut import Rule
    from uncertainty.choosing.selection import select
    from uncertainty.images import heatmaps
    from uncertainty.images.masks import parse_steps
    from uncertainty.settings import SETTINGS, in_words
    from uncertainty.storage import foreign, picture_entry, rating, tensor_files
    from uncertainty.storage.fingerprints import described, fingerprint
    from uncertainty.storage.ledger import Ledger
    from uncertainty.storage.ledger_query import Query
    from uncertainty.storage.records import records_of
    from uncertainty_runs.workflow import Workflow

    path = folder / "fuzzed"
    uncertainty = made(2, part=0)
    together = replace(uncertainty, other_parts=(made(2, 1, part=1),))
    ledger = Ledger(folder / "ledger.sqlite3")

    def written(save: Callable[[Path, Any], None], value: Any) -> bytes:
        save(path, value)
        return path.read_bytes()

    calibration = Calibration.like(together).add(together)
    valid_map = written(tensor_files.save_map, together)
    valid_calibration = written(tensor_files.save_calibration, calibration)
    valid_thresholds = written(tensor_files.save_thresholds, calibration.thresholds(95))
    picture, about = io.BytesIO(), PngInfo()
    about.add_text(picture_entry.ENTRY, picture_entry.entry(uncertainty, 0))
    Image.new("RGB", (8, 8)).save(picture, "PNG", pnginfo=about)
    others = [picture_entry.content(torch.zeros(8, 8, 3), {picture_entry.ENTRY: "{}"}, kind) for kind in ("webp", "jpeg")]
    workflow = (ROOT / "dev" / "best_of_16.api.json").read_bytes()

    def put(data: bytes, valid: bytes) -> None:
        path.write_bytes(Edits(data).of(valid))

    def read_map(data: bytes) -> None:
        put(data, valid_map)
        read = tensor_files.load_map(path)
        select(read.score(), Rule(keep=1), quantity="denoised_variance")
        read.select([0])
        fingerprint(read)
        in_words(described(read))
        picture_entry.entry(read, 0)
        pictures = heatmaps.as_pictures(read.quantity(next(iter(read.quantities))).sum(0))
        heatmaps.colorize(heatmaps.normalize(pictures, "batch"), "magma")
        Calibration.like(read)
        for number in range(1 + len(read.other_parts)):
            read.part(number).score()

    def read_settings(data: bytes) -> None:
        """Record a map of another program, and list the ledger."""
        edits = Edits(data)
        names = [setting.name for setting in SETTINGS]
        settings = {names[edits.number(0, len(names) - 1)]: edits.value() for _ in range(edits.number(1, 3))}
        ledger.add(records_of(replace(uncertainty, settings=settings), ["a.png", "b.png"]))
        for image in ledger.page(Query()).images:
            json.dumps([image.seed, image.model], allow_nan=False)
        for _, found, _ in ledger.groups():
            in_words(found)

    def read_json(data: bytes) -> None:
        edits = Edits(data)
        read = foreign.parsed(edits.text())
        json.dumps(read, ensure_ascii=False, allow_nan=False).encode()

    def read_cursor(data: bytes) -> None:
        Query().after(Edits(data).text())

    def read_calibration(data: bytes) -> None:
        put(data, valid_calibration)
        read = tensor_files.load_calibration(path)
        read.add(together).thresholds(90)

    def read_thresholds(data: bytes) -> None:
        put(data, valid_thresholds)
        read = tensor_files.load_thresholds(path)
        for part in together.parts:
            thresholds = read.part(part.settings["part"])
            thresholds.check(part.settings)
            thresholds.at(part.steps[0], part.values.shape[1:])
            thresholds.rank("denoised_variance", part.score().value)

    def read_picture(data: bytes) -> None:
        put(data, picture.getvalue())
        picture_entry.read(path)
        picture_entry.read_map(path)

    def read_photo(data: bytes) -> None:
        """Read and rate a WebP or JPEG file."""
        put(data, others[len(data) % 2])
        picture_entry.read(path)
        rating.write_rating(path, 3)

    def read_entry(data: bytes) -> None:
        """Read a picture whose text entry was edited as JSON."""
        edits = Edits(data)
        entry = json.loads(picture_entry.entry(uncertainty, 0))
        for _ in range(edits.number(1, 3)):
            where = entry if edits.number(0, 1) else entry.get("map", entry)
            if isinstance(where, dict) and where:
                where[sorted(where)[edits.number(0, len(where) - 1)]] = edits.value()
        text = PngInfo()
        text.add_text(picture_entry.ENTRY, dumped(entry))
        Image.new("RGB", (8, 8)).save(path, "PNG", pnginfo=text)
        picture_entry.read(path)
        picture_entry.read_map(path)

    def read_workflow(data: bytes) -> None:
        put(data, workflow)
        read = Workflow.read(path, describe)
        read.drawing("cat", 1, 2)
        read.sampling(strength=0.0)

    def read_steps(data: bytes) -> None:
        parse_steps(Edits(data).provider.ConsumeUnicodeNoSurrogates(64))

    return {
        "map": read_map,
        "calibration": read_calibration,
        "thresholds": read_thresholds,
        "picture": read_picture,
        "photo": read_photo,
        "entry": read_entry,
        "workflow": read_workflow,
        "steps": read_steps,
        "json": read_json,
        "cursor": read_cursor,
        "settings": read_settings,
    }


NAMES = ("map", "calibration", "thresholds", "picture", "photo", "entry", "workflow", "steps", "json", "cursor", "settings")


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which then exits, with an error if there was a finding."""
    import atheris

    sys.path.append(str(ROOT / "tests" / "support"))
    with tempfile.TemporaryDirectory() as folder:
        with atheris.instrument_imports(include=["uncertainty"]):
            target = targets(Path(folder))[name]

        def once(data: bytes) -> None:
            with suppress(ValueError, OSError):
                target(data)

        FINDINGS.mkdir(parents=True, exist_ok=True)
        options = [f"-max_total_time={seconds}", "-max_len=256", "-timeout=20", "-print_final_stats=1"]
        options.append(f"-artifact_prefix={FINDINGS}/{name}-")
        atheris.Setup([sys.argv[0], *options], once)
        atheris.Fuzz()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", choices=[*NAMES, []], help="targets to fuzz (default: all)")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        fuzz(arguments.targets[0], arguments.seconds)
    runs = {}
    for name in arguments.targets or NAMES:
        command = [sys.executable, "-m", "dev.fuzz", name, "--here", "--seconds", str(arguments.seconds)]
        done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"error: {name}: {done.stdout[-3000:]}\n{done.stderr[-1000:]}\ninput: {shown(FINDINGS)}")
        runs[name] = counted(done.stderr)
        print(f"{name}: {runs[name]:,} inputs in {arguments.seconds} s, no findings", flush=True)


def counted(output: str) -> int:
    """Number of inputs tried, from libFuzzer's final statistics."""
    lines = [line for line in output.splitlines() if line.startswith("stat::number_of_executed_units:")]
    return int(lines[-1].split(":")[-1])


if __name__ == "__main__":
    main()
