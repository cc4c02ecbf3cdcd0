"""The command ``rank``: lists the images of a folder by their scores, from the files or from the rows of a batch."""

import argparse
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from uncertainty.choosing import rejecting
from uncertainty.choosing.cut import Rule
from uncertainty.choosing.rejecting import Mover
from uncertainty.choosing.standing import place
from uncertainty.scores import bad_end, measured
from uncertainty.storage import picture_entry
from uncertainty.storage.foreign import parsed
from uncertainty.storage.in_use import InUse
from uncertainty.storage.picture_files import has_picture_name
from uncertainty.storage.records import ImageRecord
from uncertainty.storage.saved_files import is_file_of

from .graph import MOST_VALUES
from .prompt_text import prompt_in
from .ranked_images import Group, Ranking
from .rows import Rows, check_library, record_in
from .run_folder import ROWS, present
from .terminal import printable, say, warn

# Characters of a prompt in its heading.
LONGEST_PROMPT = 100
T = TypeVar("T")


def images_of(folder: Path, quantity: str) -> Iterator[ImageRecord]:
    """The images in the rows of a batch, or else in the folder and its subfolders, without those that were rejected.

    Images without scores are among them. Files that cannot be used are reported and left out.
    """
    return _rows(folder, quantity) if (folder / ROWS).is_dir() else _files(folder)


def _files(folder: Path) -> Iterator[ImageRecord]:
    for path in _pictures(folder):
        name = path.relative_to(folder).as_posix()
        if not path.is_file():  # opening a pipe or a device may wait for ever
            _leave_out(f"{name} is not a regular file.")
            continue
        try:
            image = picture_entry.read(path)
        except (ValueError, OSError) as error:
            _leave_out(error)
            continue
        yield ImageRecord({}, "", "", 0, file=name) if image is None else replace(image, file=name)


def _leave_out(reason: object) -> None:
    warn(f"left out: {printable(reason)}")


def _pictures(folder: Path) -> Iterator[Path]:
    """The pictures of a folder and its subfolders, but not in those for rejected files nor behind links to folders."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not rejecting.is_for_rejected(Path(parent, name)))
        yield from filter(has_picture_name, (Path(parent, name) for name in sorted(names)))


def _rows(folder: Path, quantity: str) -> Iterator[ImageRecord]:
    """The images of a batch, without those that were rejected before."""
    check_library()
    columns = ("file", quantity, f"{quantity}_error", "digest", "fingerprint", "prompt", "prompt_digest")
    for table in Rows(folder / ROWS).batches(columns):
        for line in table.to_pylist():
            if line["file"] is None:
                _leave_out("a row names no file.")
                continue
            path = present(folder, line["file"])
            if path is None:
                _leave_out(f"{line['file']} is missing: the same batch command draws it again.")
            elif path.parent.name != rejecting.REJECTED:
                yield record_in(line)


def rule_of(arguments: argparse.Namespace) -> Rule:
    """The rule that the command line asks for: without one, all images with a score are kept."""
    return Rule(
        mode="keep_best" if arguments.keep is not None else "threshold" if arguments.threshold is not None else "percentile",
        keep=arguments.keep or 1,
        percentile=100.0 if arguments.percentile is None else arguments.percentile,
        threshold=float(torch.tensor(arguments.threshold or 0.0)),  # 32 bits, as scores have
        reject=arguments.reject or bad_end(arguments.quantity),
    )


def add_images(ranking: Ranking, folder: Path) -> None:
    """Add the images of a folder that have the score, and rank them; report how many do not.

    Raises:
        ValueError: none has.
    """
    count, first = 0, ""
    for image in images_of(folder, ranking.quantity):
        if ranking.quantity in image.scores:
            ranking.add(image)
        else:
            first = first if count else image.file or ""
            count += 1
    if count:
        warn(f"left out: {count} {'file' if count == 1 else 'files'} without scores, such as {printable(first)}")
    if not ranking.count:
        raise ValueError(
            f"no image in {folder} has a score {ranking.quantity}: Save Image (Uncertainty) writes scores, unless metadata is "
            "disabled."
        )
    ranking.sort()


def table(ranking: Ranking, folder: Path) -> Iterator[str]:
    """A heading for each group of images that compare, and a line for each of its images, best first."""
    for group in ranking.groups():
        yield _heading(folder, group, across_prompts=ranking.across_prompts)
        for image in ranking.images(group):
            score = measured(image.value, image.error, 6)
            standing = place(image.better, image.scored) if math.isfinite(image.value) else "no score"
            yield f"{printable(image.file):<{ranking.width}}  {score}  {standing:<14}  {'kept' if image.kept else 'rejected'}"


def _heading(folder: Path, group: Group, *, across_prompts: bool) -> str:
    """The prompt of a group and, where one prompt was drawn with several settings, which of them."""
    said = "all prompts, whose ranks mix easy and difficult ones" if across_prompts else _prompt(folder, group)
    settings = f", settings {printable(group.fingerprint)}" if group.settings > 1 else ""
    return f"— {said}{settings}: {group.count} {'image' if group.count == 1 else 'images'}"


def _prompt(folder: Path, group: Group) -> str:
    """The prompt of a group in words: its text on one line, or else its digest."""
    text = " ".join((prompt_of(folder / group.file) if group.prompt is None else group.prompt).split())
    if text:
        return printable(text if len(text) <= LONGEST_PROMPT else f"{text[:LONGEST_PROMPT]} …")
    return f"prompt {printable(group.prompt_digest)}" if group.prompt_digest else "prompt unknown, maybe several"


def prompt_of(path: Path) -> str:
    """The positive prompt of a saved image, from the graph that ComfyUI writes into the file; empty if it is not told there."""
    try:
        text = picture_entry.text(path, "prompt")
        return "" if text is None else prompt_in(parsed(text, values=MOST_VALUES))
    except (OSError, ValueError):
        return ""


def rank(arguments: argparse.Namespace) -> None:
    """The command."""
    if arguments.move and all(rule is None for rule in (arguments.keep, arguments.percentile, arguments.threshold)):
        raise ValueError("--move needs a rule: --keep, --percentile or --threshold.")
    folder = arguments.folder
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: give one with PNG files, or the --output of a batch.")
    if arguments.undo:
        undo(folder)
        return
    with closing(Ranking(rule_of(arguments), arguments.quantity, across_prompts=arguments.across_prompts)) as ranking:
        add_images(ranking, folder)
        for line in table(ranking, folder):
            say(line)
        if arguments.move:
            _move(ranking, folder)


def _move(ranking: Ranking, folder: Path) -> None:
    """Move all other images to folders ``rejected``."""

    def reject(mover: Mover, image: ImageRecord) -> None:
        if is_file_of(image, folder / image.path):
            mover.reject(image.path.name)
        else:
            warn(f"not moved: {printable(image.path.name)} is no longer the file whose score was read.")

    def files() -> Iterator[tuple[Path, Path, ImageRecord]]:
        return ((folder / image.path.parent, folder / image.path, image) for image in ranking.rejected())

    count = _each_in_turn(folder, files(), reject)
    say(f"moved {count} of {ranking.count} to folders {rejecting.REJECTED} in {folder}; --undo brings them back.")


def undo(folder: Path) -> None:
    """Move all rejected images back."""
    below = (Path(parent, name) for parent, names, _ in os.walk(folder) for name in names)
    folders = [path.with_name(rejecting.REJECTED) for path in below if rejecting.is_for_rejected(path)]
    paths = (
        path for rejected in sorted(folders) for path in sorted(rejected.iterdir()) if has_picture_name(path) and path.is_file()
    )
    files = ((path.parent.parent, path, path.name) for path in paths)
    count = _each_in_turn(folder, files, Mover.restore)
    say(f"brought {count} back from folders {rejecting.REJECTED} in {folder}.")


def _each_in_turn(root: Path, files: Iterable[tuple[Path, Path, T]], move: Callable[[Mover, T], object]) -> int:
    """Move files, given with the folders of their movers and what ``move`` wants of them, and return how many are gone.

    Files of one folder follow one another. Those that another process moved meanwhile are left out.
    """
    count = 0
    for folder, group in itertools.groupby(files, lambda file: file[0]):
        with rejecting.moving(root, folder) as mover:
            for _, path, wanted in group:
                if not path.is_file():
                    continue
                try:
                    move(mover, wanted)
                except InUse as error:  # the others are moved: ranked again without them, other images would pass
                    warn(f"not moved: {printable(error)}")
                count += not path.exists()
    return count
