"""The command ``rank``: lists the images of a folder by their scores, from the PNG files or from the rows of a batch."""

import argparse
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from uncertainty.choosing import rejecting
from uncertainty.choosing.cut import Rule, best_first
from uncertainty.choosing.rejecting import Mover
from uncertainty.choosing.selection import select
from uncertainty.choosing.standing import better_than, stand
from uncertainty.scores import Score, bad_end
from uncertainty.storage import png_entry
from uncertainty.storage.records import ImageRecord
from uncertainty.storage.saved_files import is_file_of

from .rows import Rows, check_library, record_in
from .run_folder import ROWS, present
from .terminal import printable, say, warn


@dataclass(frozen=True)
class Ranked:
    """The images of a folder that have scores, and for each of the others why it has none."""

    folder: Path
    images: list[ImageRecord]
    unknown: list[str]

    def score(self, quantity: str, rows: list[int] | None = None) -> Score:
        """Scores of all images, or of some."""
        images = self.images if rows is None else [self.images[row] for row in rows]
        values = torch.tensor([image.scores[quantity] for image in images]).reshape(-1, 2)
        return Score(values[:, 0], values[:, 1])


def look(folder: Path, quantity: str) -> Ranked:
    """Read the rows of a batch, or else the PNG files of the folder; subfolders are not searched.

    Raises:
        ValueError: the quantity was not measured for some of them.
    """
    ranked = _rows(folder, quantity) if (folder / ROWS).is_dir() else _files(folder)
    lacking = [image.file for image in ranked.images if quantity not in image.scores]
    if lacking:
        raise ValueError(f"{quantity} was not measured for {len(lacking)} of the images, as {lacking[0]}: move them away.")
    return ranked


def _files(folder: Path) -> Ranked:
    images, unknown = [], []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() != ".png":
            continue
        if not path.is_file():  # opening a pipe or a device may wait for ever
            unknown.append(f"{path.name} is not a regular file.")
            continue
        try:
            image = png_entry.read(path)
        except (ValueError, OSError) as error:
            unknown.append(str(error))
            continue
        if image is None:
            unknown.append(f"{path.name} has no scores: Save Image (Uncertainty) did not save it, or metadata was disabled.")
        else:
            images.append(image)
    return Ranked(folder, images, unknown)


def _rows(folder: Path, quantity: str) -> Ranked:
    """The images of a batch, without those that were rejected before."""
    check_library()
    images, unknown = [], []
    texts: dict[str, str] = {}
    for table in Rows(folder / ROWS).batches(("file", quantity, f"{quantity}_error", "digest", "fingerprint", "prompt")):
        for line in table.to_pylist():
            if line["file"] is None:
                unknown.append("a row names no file.")
                continue
            place = present(folder, line["file"])
            if place is None:
                unknown.append(f"{line['file']} is missing: the same batch command draws it again.")
            elif place.parent.name != rejecting.REJECTED:
                # One text for all images of a prompt, not one each.
                prompt, name = (texts.setdefault(line[column], line[column]) for column in ("prompt", "fingerprint"))
                images.append(replace(record_in(line), prompt=prompt, fingerprint=name))
    return Ranked(folder, images, unknown)


def kept(ranked: Ranked, arguments: argparse.Namespace) -> set[int]:
    """Indices of the images to keep: all without a rule, which applies to each prompt separately or to all images.

    Raises:
        ValueError: the prompts of the images are unknown.
    """
    groups: dict[str | None, list[int]] = {}
    for index, image in enumerate(ranked.images):
        if arguments.each_prompt and image.prompt is None:
            raise ValueError("--each-prompt needs the folder of a batch: other images do not know their prompts.")
        groups.setdefault(image.prompt if arguments.each_prompt else None, []).append(index)
    rule = Rule(
        mode="keep_best" if arguments.keep is not None else "threshold" if arguments.threshold is not None else "percentile",
        keep=arguments.keep or 1,
        percentile=100.0 if arguments.percentile is None else arguments.percentile,
        threshold=arguments.threshold or 0.0,
        reject=arguments.reject,
    )
    chosen = set()
    for group in groups.values():
        selection = select(ranked.score(arguments.quantity, group), rule, quantity=arguments.quantity)
        chosen |= {group[index] for index in selection.kept}
    return chosen


def table(ranked: Ranked, kept: set[int], quantity: str, reject: str) -> Iterator[str]:
    """One line per image, best first. Each is compared with the images of the folder that have equal settings."""
    values, errors = ranked.score(quantity)
    compared, groups = _compared(ranked, values, reject)
    names = [printable(image.file or "") for image in ranked.images]
    width = max(map(len, names))
    for index in best_first(values, reject):
        mark = "kept" if index in kept else "rejected"
        score = f"{values[index]:.6g} ± {errors[index]:.2g}"
        yield f"{names[index]:<{width}}  {score}  {compared[index]:<24}  {mark}"
    if groups > 1:
        yield f"the images have {groups} different settings: scores compare only among images with equal settings."


def _compared(ranked: Ranked, values: torch.Tensor, reject: str) -> tuple[dict[int, str], int]:
    """How each image compares with the others, and the number of groups with equal settings."""
    groups: dict[str, list[int]] = {}
    for index, image in enumerate(ranked.images):
        groups.setdefault(image.fingerprint, []).append(index)
    said = {}
    for group in groups.values():
        scores = values[group]
        valid = scores[scores.isfinite()].sort().values
        standing = stand(scores, valid)
        for index, score, beaten in zip(group, scores, standing.worse(reject).tolist(), strict=True):
            if not score.isfinite():
                said[index] = "no score"
            else:
                said[index] = better_than(beaten, standing.others) if standing.others else "the only one"
    return said, len(groups)


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
    for reason in ranked.unknown:
        warn(f"left out: {printable(reason)}")
    if not ranked.images:
        raise ValueError(f"no image in {folder} has scores.")
    good = kept(ranked, arguments)
    for line in table(ranked, good, arguments.quantity, arguments.reject):
        say(line)
    if arguments.move:
        rejected = [image for index, image in enumerate(ranked.images) if index not in good]
        by_path = {folder / image.path: image for image in rejected}

        def reject(mover: Mover, path: Path) -> None:
            if is_file_of(by_path[path], path):
                mover.reject(path.name)
            else:
                warn(f"not moved: {printable(path.name)} is no longer the file whose score was read.")

        count = _each_in_turn(folder, {path: path.parent for path in by_path}, reject)
        say(f"moved {count} of {len(ranked.images)} to {_rejected(folder)}; --undo brings them back.")


def undo(folder: Path) -> None:
    """Move all rejected images back."""
    folders = sorted(folder.glob(_rejected(folder).relative_to(folder).as_posix()))
    files = [path for rejected in folders if rejected.is_dir() for path in sorted(rejected.iterdir()) if _is_png(path)]
    count = _each_in_turn(folder, {path: path.parent.parent for path in files}, lambda mover, path: mover.restore(path.name))
    say(f"brought {count} back from {_rejected(folder)}.")


def _each_in_turn(root: Path, files: Mapping[Path, Path], move: Callable[[Mover, Path], object]) -> int:
    """Move files, given with the folders of their movers, and return how many are gone.

    Those that another process moved meanwhile are left out.
    """
    count = 0
    for folder, group in itertools.groupby(sorted(files), files.__getitem__):
        with rejecting.moving(root, folder) as mover:
            for file in group:
                if file.is_file():
                    move(mover, file)
                    count += not file.exists()
    return count


def _is_png(path: Path) -> bool:
    return path.suffix.lower() == ".png" and path.is_file()


def _rejected(folder: Path) -> Path:
    """Where rejected files go; a batch keeps its images in numbered folders, each with its own place for them."""
    return folder / "images" / "*" / rejecting.REJECTED if (folder / ROWS).is_dir() else folder / rejecting.REJECTED
