"""``python -m uncertainty rank``: images of a folder by their scores, which the PNG files hold, or the rows of a batch."""

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from uncertainty.choosing import rejecting
from uncertainty.choosing.selection import order, select
from uncertainty.maps import SURE_WHEN_HIGH, Score
from uncertainty.storage import png_entry

from .rows import Rows, check_library
from .run_folder import ROWS, present


@dataclass(frozen=True)
class Ranked:
    """Images of a folder that know their scores.

    Attributes:
        folder: where they are.
        files: their names, below it.
        scores: of one quantity.
        fingerprints: settings under which scores compare.
        prompts: what each shows; None where that is not known.
        unknown: of files without scores, the reason.
    """

    folder: Path
    files: list[str]
    scores: Score
    fingerprints: list[str]
    prompts: list[str] | None
    unknown: list[str]


def look(folder: Path, quantity: str) -> Ranked:
    """Read the rows of a batch, or else the PNG files of the folder, not of those below it.

    Raises:
        ValueError: the quantity was not measured for some of them.
    """
    return _rows(folder, quantity) if (folder / ROWS).is_dir() else _files(folder, quantity)


def _files(folder: Path, quantity: str) -> Ranked:
    images, unknown = [], []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() != ".png":
            continue
        try:
            known = png_entry.read(path)
        except (ValueError, OSError) as error:
            unknown.append(str(error))
            continue
        if known is None:
            unknown.append(f"{path.name} has no scores: it was not saved by Save Image (Uncertainty), or without metadata.")
        else:
            images.append((path.name, known))
    _check(quantity, [name for name, known in images if quantity not in known.scores])
    scores = torch.tensor([known.scores[quantity] for _, known in images]).reshape(-1, 2)
    names, fingerprints = [name for name, _ in images], [known.fingerprint for _, known in images]
    return Ranked(folder, names, Score(scores[:, 0], scores[:, 1]), fingerprints, None, unknown)


def _rows(folder: Path, quantity: str) -> Ranked:
    """Images that were rejected before are left out, like those of other folders."""
    check_library()
    table = Rows(folder / ROWS).table(("file", quantity, f"{quantity}_error", "fingerprint", "prompt"))
    files = table["file"].to_pylist()
    places = [present(folder / name) for name in files]
    gone = [name for name, place in zip(files, places, strict=True) if not place]
    unknown = [f"{name} is missing: the same batch command draws it again." for name in gone]
    here = [place is not None and place.parent.name != rejecting.REJECTED for place in places]
    table = table.filter(here)
    files = table["file"].to_pylist()
    _check(quantity, [name for name, valid in zip(files, table[quantity].is_valid().to_pylist(), strict=True) if not valid])
    value, error = (torch.from_numpy(table[name].to_numpy().copy()) for name in (quantity, f"{quantity}_error"))
    # One text for all images of a prompt, not one each.
    fingerprints, prompts = (_shared(table[name].to_pylist()) for name in ("fingerprint", "prompt"))
    return Ranked(folder, files, Score(value, error), fingerprints, prompts, unknown)


def _shared(texts: list[str]) -> list[str]:
    known: dict[str, str] = {}
    return [known.setdefault(text, text) for text in texts]


def _check(quantity: str, lacking: list[str]) -> None:
    if lacking:
        raise ValueError(f"{quantity} was not measured for {len(lacking)} of the images, as {lacking[0]}: move them away.")


def kept(found: Ranked, arguments: argparse.Namespace) -> set[int]:
    """Indices of what is kept: everything, unless a rule was given; by each prompt on its own, or over all.

    Raises:
        ValueError: the images do not know their prompts.
    """
    groups: dict[str, list[int]] = {}
    if arguments.each_prompt:
        if found.prompts is None:
            raise ValueError("--each-prompt needs the folder of a batch: other images do not know their prompts.")
        for index, prompt in enumerate(found.prompts):
            groups.setdefault(prompt, []).append(index)
    else:
        groups[""] = list(range(len(found.files)))
    mode = "keep_best" if arguments.keep is not None else "threshold" if arguments.threshold is not None else "percentile"
    chosen = set()
    for group in groups.values():
        selection = select(
            Score(found.scores.value[group], found.scores.standard_error[group]),
            quantity=arguments.quantity,
            mode=mode,
            keep=arguments.keep or 1,
            percentile=100.0 if arguments.percentile is None else arguments.percentile,
            threshold=arguments.threshold or 0.0,
            reject=arguments.reject,
        )
        chosen |= {group[index] for index in selection.kept}
    return chosen


def table(found: Ranked, kept: set[int], reject: str) -> Iterator[str]:
    """One line an image, best first. Ranks count the images of the folder that were made under the same settings."""
    best_first = order(found.scores.value, reject)
    values, errors = found.scores.value.tolist(), found.scores.standard_error.tolist()
    places: dict[int, int] = {}  # of each image that has a score, among those of its settings
    groups: dict[str, int] = {}
    for index in best_first:
        name = found.fingerprints[index]
        groups.setdefault(name, 0)
        if math.isfinite(values[index]):
            places[index] = groups[name]
            groups[name] += 1
    width = max(map(len, found.files))
    for index in best_first:
        others = groups[found.fingerprints[index]] - 1
        if index not in places:
            beaten = "no score"
        else:
            beaten = f"better than {100 * (others - places[index]) // others:3} % of {others}" if others else "alone"
        mark = "kept" if index in kept else "rejected"
        yield f"{found.files[index]:<{width}}  {values[index]:.6g} ± {errors[index]:.2g}  {beaten:<24}  {mark}"
    if len(groups) > 1:
        yield f"the images were made under {len(groups)} different settings: scores compare within each only."


def rank(arguments: argparse.Namespace) -> None:
    """The command."""
    if arguments.reject is None:
        arguments.reject = "lowest" if arguments.quantity in SURE_WHEN_HIGH else "highest"
    if arguments.move and all(rule is None for rule in (arguments.keep, arguments.percentile, arguments.threshold)):
        sys.exit("error: --move needs a rule: --keep, --percentile or --threshold.")
    folder = arguments.folder
    if not folder.is_dir():
        sys.exit(f"error: {folder} is no folder.")
    if arguments.undo:
        undo(folder)
        return
    found = look(folder, arguments.quantity)
    for reason in found.unknown:
        print(f"left out: {reason}", file=sys.stderr)
    if not found.files:
        sys.exit(f"error: no image in {folder} knows its scores.")
    good = kept(found, arguments)
    for line in table(found, good, arguments.reject):
        print(line)
    if arguments.move:
        rejected = [name for index, name in enumerate(found.files) if index not in good]
        for name in rejected:
            rejecting.reject(folder, folder / name)
        print(f"moved {len(rejected)} of {len(found.files)} to {_rejected(folder)}; --undo brings them back.")


def undo(folder: Path) -> None:
    """Bring everything back that was rejected."""
    found = sorted(folder.glob(_rejected(folder).relative_to(folder).as_posix()))
    files = [path for rejected in found if rejected.is_dir() for path in sorted(rejected.iterdir()) if path.is_file()]
    for path in files:
        rejecting.restore(folder, path)
    print(f"brought {len(files)} back from {_rejected(folder)}.")


def _rejected(folder: Path) -> Path:
    """Where what is moved away lies; a batch keeps its images in numbered folders, each with its own place for them."""
    return folder / "images" / "*" / rejecting.REJECTED if (folder / ROWS).is_dir() else folder / rejecting.REJECTED
