"""The command ``rank``: lists the images of a folder by their scores, from the files or from the rows of a batch."""

import argparse
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from uncertainty.choosing import rejecting
from uncertainty.choosing.cut import Rule, best_first
from uncertainty.choosing.rejecting import Mover
from uncertainty.choosing.selection import select
from uncertainty.choosing.standing import place, within
from uncertainty.scores import Score, bad_end, measured
from uncertainty.storage import picture_entry
from uncertainty.storage.foreign import parsed
from uncertainty.storage.picture_files import PICTURES
from uncertainty.storage.records import ImageRecord
from uncertainty.storage.saved_files import is_file_of

from .graph import MOST_VALUES
from .prompt_text import prompt_in
from .rows import Rows, check_library, record_in
from .run_folder import ROWS, present
from .terminal import printable, say, warn

# Characters of a prompt in its heading.
LONGEST_PROMPT = 100


@dataclass(frozen=True)
class Ranked:
    """The images of a folder that have scores, and what is known of the others.

    Attributes:
        folder: the folder.
        images: the images; their files are relative to it.
        unscored: files without the score.
        unusable: for each other file that was left out, why.
    """

    folder: Path
    images: list[ImageRecord]
    unscored: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    def score(self, quantity: str, rows: list[int]) -> Score:
        """Scores of some images."""
        values = torch.tensor([self.images[row].scores[quantity] for row in rows]).reshape(-1, 2)
        return Score(values[:, 0], values[:, 1])

    def groups(self, *, across_prompts: bool) -> list[list[int]]:
        """Indices of images that compare with one another: of equal settings and, unless ``across_prompts``, of one prompt."""
        groups: dict[tuple[str | None, str], list[int]] = {}
        for index, image in enumerate(self.images):
            groups.setdefault((None if across_prompts else image.prompt_digest, image.fingerprint), []).append(index)
        return list(groups.values())


def look(folder: Path, quantity: str) -> Ranked:
    """Read the rows of a batch, or else the pictures of the folder and its subfolders, without those that were rejected."""
    found = _rows(folder, quantity) if (folder / ROWS).is_dir() else _files(folder)
    images = [image for image in found.images if quantity in image.scores]
    lacking = [image.file or "" for image in found.images if quantity not in image.scores]
    return replace(found, images=images, unscored=[*found.unscored, *lacking])


def _files(folder: Path) -> Ranked:
    ranked = Ranked(folder, [])
    for path in _pictures(folder):
        name = path.relative_to(folder).as_posix()
        if not path.is_file():  # opening a pipe or a device may wait for ever
            ranked.unusable.append(f"{name} is not a regular file.")
            continue
        try:
            image = picture_entry.read(path)
        except (ValueError, OSError) as error:
            ranked.unusable.append(str(error))
            continue
        if image is None:
            ranked.unscored.append(name)
        else:
            ranked.images.append(replace(image, file=name))
    return ranked


def _pictures(folder: Path) -> Iterator[Path]:
    """The pictures of a folder and its subfolders, but not in those for rejected files nor behind links to folders."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != rejecting.REJECTED)
        yield from (Path(parent, name) for name in sorted(names) if name.lower().endswith(PICTURES))


def _rows(folder: Path, quantity: str) -> Ranked:
    """The images of a batch, without those that were rejected before."""
    check_library()
    ranked = Ranked(folder, [])
    texts: dict[str, str] = {}
    columns = ("file", quantity, f"{quantity}_error", "digest", "fingerprint", "prompt", "prompt_digest")
    for table in Rows(folder / ROWS).batches(columns):
        for line in table.to_pylist():
            if line["file"] is None:
                ranked.unusable.append("a row names no file.")
                continue
            path = present(folder, line["file"])
            if path is None:
                ranked.unusable.append(f"{line['file']} is missing: the same batch command draws it again.")
            elif path.parent.name != rejecting.REJECTED:
                # One text for all images of a prompt, not one each.
                line |= {name: line[name] and texts.setdefault(line[name], line[name]) for name in columns[-3:]}
                ranked.images.append(record_in(line))
    return ranked


def kept(ranked: Ranked, arguments: argparse.Namespace) -> set[int]:
    """Indices of the images to keep: all without a rule, which applies to each group of images that compare."""
    rule = Rule(
        mode="keep_best" if arguments.keep is not None else "threshold" if arguments.threshold is not None else "percentile",
        keep=arguments.keep or 1,
        percentile=100.0 if arguments.percentile is None else arguments.percentile,
        threshold=arguments.threshold or 0.0,
        reject=arguments.reject,
    )
    chosen = set()
    for group in ranked.groups(across_prompts=arguments.across_prompts):
        selection = select(ranked.score(arguments.quantity, group), rule, quantity=arguments.quantity)
        chosen |= {group[index] for index in selection.kept}
    return chosen


def table(ranked: Ranked, kept: set[int], arguments: argparse.Namespace) -> Iterator[str]:
    """A heading for each group of images that compare, and a line for each of its images, best first."""
    groups = ranked.groups(across_prompts=arguments.across_prompts)
    names = [printable(image.file or "") for image in ranked.images]
    width = max(map(len, names))
    for heading, group in zip(_headings(ranked, groups, arguments.across_prompts), groups, strict=True):
        values, errors = ranked.score(arguments.quantity, group)
        standing = within(values)
        better = standing.better(arguments.reject).tolist()
        yield heading
        for row in best_first(values, arguments.reject):
            mark = "kept" if group[row] in kept else "rejected"
            score = measured(values[row], errors[row], 6)
            ranking = place(better[row], standing.count) if values[row].isfinite() else "no score"
            yield f"{names[group[row]]:<{width}}  {score}  {ranking:<14}  {mark}"


def _headings(ranked: Ranked, groups: list[list[int]], across_prompts: bool) -> Iterator[str]:
    """For each group, its prompt and, where one prompt was drawn with several settings, which of them."""
    firsts = [ranked.images[group[0]] for group in groups]
    prompts = [None if across_prompts else first.prompt_digest for first in firsts]
    counts = Counter(prompts)
    for first, prompt, group in zip(firsts, prompts, groups, strict=True):
        said = "all prompts, whose ranks mix easy and difficult ones" if across_prompts else _prompt(ranked.folder, first)
        settings = f", settings {printable(first.fingerprint)}" if counts[prompt] > 1 else ""
        yield f"— {said}{settings}: {len(group)} {'image' if len(group) == 1 else 'images'}"


def _prompt(folder: Path, image: ImageRecord) -> str:
    """The prompt of an image in words: its text on one line, or else its digest."""
    text = " ".join((prompt_of(folder / image.path) if image.prompt is None else image.prompt).split())
    if text:
        return printable(text if len(text) <= LONGEST_PROMPT else f"{text[:LONGEST_PROMPT]} …")
    if image.prompt_digest is None:
        return "prompt unknown, maybe several"
    return f"prompt {printable(image.prompt_digest)}"


def prompt_of(path: Path) -> str:
    """The positive prompt of a saved image, from the graph that ComfyUI writes into the file; empty if it is not told there."""
    try:
        text = picture_entry.text(path, "prompt")
        return "" if text is None else prompt_in(parsed(text, values=MOST_VALUES))
    except (OSError, ValueError):
        return ""


def rank(arguments: argparse.Namespace) -> None:
    """The command."""
    if arguments.reject is None:
        arguments.reject = bad_end(arguments.quantity)
    if arguments.move and all(rule is None for rule in (arguments.keep, arguments.percentile, arguments.threshold)):
        raise ValueError("--move needs a rule: --keep, --percentile or --threshold.")
    folder = arguments.folder
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder.")
    if arguments.undo:
        undo(folder)
        return
    ranked = look(folder, arguments.quantity)
    for reason in ranked.unusable:
        warn(f"left out: {printable(reason)}")
    if ranked.unscored:
        count = len(ranked.unscored)
        warn(f"left out: {count} {'file' if count == 1 else 'files'} without scores, such as {printable(ranked.unscored[0])}")
    if not ranked.images:
        raise ValueError(
            f"no image in {folder} has a score {arguments.quantity}: Save Image (Uncertainty) writes scores, unless metadata is "
            "disabled."
        )
    good = kept(ranked, arguments)
    for line in table(ranked, good, arguments):
        say(line)
    if arguments.move:
        _move(ranked, good)


def _move(ranked: Ranked, kept: set[int]) -> None:
    """Move all other images to folders ``rejected``."""
    folder = ranked.folder
    by_path = {folder / image.path: image for index, image in enumerate(ranked.images) if index not in kept}

    def reject(mover: Mover, path: Path) -> None:
        if is_file_of(by_path[path], path):
            mover.reject(path.name)
        else:
            warn(f"not moved: {printable(path.name)} is no longer the file whose score was read.")

    count = _each_in_turn(folder, {path: path.parent for path in by_path}, reject)
    say(f"moved {count} of {len(ranked.images)} to folders {rejecting.REJECTED} in {folder}; --undo brings them back.")


def undo(folder: Path) -> None:
    """Move all rejected images back."""
    folders = [Path(parent, rejecting.REJECTED) for parent, names, _ in os.walk(folder) if rejecting.REJECTED in names]
    files = [path for rejected in sorted(folders) for path in sorted(rejected.iterdir()) if _is_picture(path)]
    count = _each_in_turn(folder, {path: path.parent.parent for path in files}, lambda mover, path: mover.restore(path.name))
    say(f"brought {count} back from folders {rejecting.REJECTED} in {folder}.")


def _each_in_turn(root: Path, files: Mapping[Path, Path], move: Callable[[Mover, Path], object]) -> int:
    """Move files, given with the folders of their movers, and return how many are gone.

    Those that another process moved meanwhile are left out.
    """
    count = 0
    for folder, group in itertools.groupby(sorted(files, key=lambda file: (files[file], file)), files.__getitem__):
        with rejecting.moving(root, folder) as mover:
            for file in group:
                if file.is_file():
                    move(mover, file)
                    count += not file.exists()
    return count


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and path.is_file()
