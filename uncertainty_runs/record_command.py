"""The command ``record``: the images of a batch, for the sidebar of ComfyUI."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from uncertainty.quantities import QUANTITIES
from uncertainty.storage.ledger import LOCATION, Ledger
from uncertainty.storage.prompt_permission import may_be_kept
from uncertainty.storage.records import ImageRecord

from .argument_types import Parser, path
from .comfyui import default_comfyui, folders
from .engine_options import add_comfyui
from .rows import EXTRA, NUMBERS, TEXTS, Rows, check_library, record_in
from .run_folder import ROWS, present, without_scores
from .terminal import say, warn

HELP = """\
Adds the images of a batch to the ledger of a ComfyUI, whose sidebar then shows them. DIR must be inside ComfyUI's output folder.
ComfyUI is not started. If it is usually started with other folders (--base-directory, --output-directory, --user-directory), give
the same options behind --. Images that the ledger has already are not added again.
"""


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add ``record`` to the commands."""
    record = commands.add_parser("record", help="show a batch in ComfyUI's sidebar", description=HELP)
    record.set_defaults(run=run)
    record.add_argument("folder", type=path, metavar="DIR", help="the --output of a batch")
    add_comfyui(record)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    check_library()
    folder = arguments.folder.resolve()
    rows = Rows(folder / ROWS)
    if not rows:
        raise ValueError(f"{arguments.folder} has no rows: give the --output of a batch.")
    places = folders((arguments.comfyui or default_comfyui()).resolve(), arguments.options)
    name = _name_below(folder, places.output)
    if name is None:
        raise ValueError(
            f"{arguments.folder} is not inside ComfyUI's output folder {places.output}, and its sidebar shows only what is. Move "
            "the batch there, or give the options that ComfyUI is started with behind --."
        )
    ledger, count = Ledger(places.user / LOCATION, places.output), 0
    with_prompts = may_be_kept(places.user)
    for images in _images(folder, rows, name):
        ledger.add(images if with_prompts else [replace(image, prompt=None) for image in images])
        count += len(images)
    if lost := without_scores(folder):
        warn(f"left out: {lost}")
    say(f"{count} images are in the ledger {ledger.path}. ComfyUI's sidebar shows them in its tab Uncertainty.")


def _name_below(folder: Path, output: Path) -> Path | None:
    """Path of a folder below the output folder; None if it is elsewhere. Where case does not count, paths can differ in it."""
    for above in (folder, *folder.parents):
        if output.is_dir() and above.samefile(output):
            return folder.relative_to(above)
    return None


def _images(folder: Path, rows: Rows, name: Path) -> Iterator[list[ImageRecord]]:
    """The images of a batch that have files, some at a time; ``name`` is the path of its folder below the output folder."""
    scores = [name for quantity in QUANTITIES for name in (quantity, f"{quantity}_error")]
    for table in rows.batches([*NUMBERS, *TEXTS, "file", *scores, EXTRA]):
        yield [image for line in table.to_pylist() if (image := _image(folder, line, name)) is not None]


def _image(folder: Path, line: dict[str, Any], name: Path) -> ImageRecord | None:
    if line["file"] is None or line["digest"] is None:
        return None
    found = present(folder, line["file"])
    if found is None:
        return None
    record = replace(record_in(line), file=(name / Path(found.path).relative_to(folder)).as_posix())
    return replace(record, state="sorted_out") if found.is_away else record  # by ``rank``
