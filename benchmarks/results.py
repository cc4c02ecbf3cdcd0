"""Reads and writes results of benchmarks: raw numbers, tables and figures, with their date and device."""

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

FOLDER = Path(__file__).with_name("results")


def arguments(description: str | None, choices: Sequence[str]) -> tuple[list[str], bool]:
    """Parse the command line: which parts to run (all by default), and whether to only print the last results."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*choices, []])
    parser.add_argument("--table", action="store_true", help="only print the table of the last results")
    parsed = parser.parse_args()
    sys.argv = sys.argv[:1]  # ComfyUI reads the command line when it is imported
    return list(parsed.parts) or list(choices), parsed.table


def device() -> str:
    """Name of the GPU, or of the CPU with the number of threads."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = next((line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    return f"{model}, {torch.get_num_threads()} threads"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def write(name: str, measured: Any, seconds: float) -> None:
    """Write raw numbers."""
    FOLDER.mkdir(exist_ok=True)
    content = {"date": date.today().isoformat(), "device": device(), "torch": torch.__version__, "seconds": round(seconds)}
    path = FOLDER / f"{name}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content | {"measured": _rounded(measured)}, indent=None) + "\n", encoding="utf-8")
    temporary.replace(path)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value


def _stored(name: str) -> dict:
    path = FOLDER / f"{name}.json"
    if not exists(name):
        sys.exit(f"error: {path.name} is missing from benchmarks/results: run without --table first.")
    return json.loads(path.read_text(encoding="utf-8"))


def exists(name: str) -> bool:
    """Whether there are results."""
    return (FOLDER / f"{name}.json").exists()


def read(name: str) -> Any:
    """The raw numbers of the last results."""
    return _stored(name)["measured"]


def heading(name: str) -> str:
    """Name, date, device, version of torch and duration of the last results."""
    stored = _stored(name)
    return f"{name}: {stored['date']}, {stored['device']}, torch {stored['torch']}, {stored['seconds']} s"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *lines))


def write_table(name: str, table: str) -> None:
    """Print a table and write it to a file."""
    print(table)
    (FOLDER / f"{name}.md").write_text(f"{heading(name)}\n\n{table}\n", encoding="utf-8")


def write_figure(name: str, figure: Any) -> None:
    """Write a figure to a file."""
    figure.savefig(FOLDER / f"{name}.png", dpi=110)
