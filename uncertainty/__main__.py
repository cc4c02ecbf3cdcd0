"""``python -m uncertainty rank FOLDER``: sort saved images by the scores in their files, and move the worse ones away.

``python -m uncertainty evaluate PROTOCOL …`` is in ``evaluation.command``.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from . import culling, metadata
from .evaluation import command
from .maps import DEFAULT_QUANTITY, SCORES, SURE_WHEN_HIGH, Score
from .metadata import Known
from .selection import REJECT, Selection, select

HELP = "Without --move nothing is touched. The scores are those that Save Image (Uncertainty) wrote into the files."


@dataclass(frozen=True)
class Folder:
    """Images of a folder that know their scores, and names of the files that do not, with the reason."""

    images: list[tuple[Path, Known]]
    unknown: list[str]


def look(folder: Path) -> Folder:
    """Read the PNG files of a folder, not of those below it."""
    images, unknown = [], []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() != ".png":
            continue
        try:
            known = metadata.read(path)
        except (ValueError, OSError) as error:
            unknown.append(str(error))
            continue
        if known is None:
            unknown.append(f"{path.name} has no scores: it was not saved by Save Image (Uncertainty), or without metadata.")
        else:
            images.append((path, known))
    return Folder(images, unknown)


def chosen(found: Folder, arguments: argparse.Namespace) -> Selection:
    """What is kept: everything, unless a rule was given."""
    lacking = [path.name for path, known in found.images if arguments.quantity not in known.scores]
    if lacking:
        raise ValueError(
            f"{arguments.quantity} was not measured for {len(lacking)} of the images, as {lacking[0]}: move them away."
        )
    scores = torch.tensor([known.scores[arguments.quantity] for _, known in found.images]).reshape(-1, 2)
    mode = "keep_best" if arguments.keep is not None else "threshold" if arguments.threshold is not None else "percentile"
    return select(
        Score(scores[:, 0], scores[:, 1]),
        quantity=arguments.quantity,
        mode=mode,
        keep=arguments.keep or 1,
        percentile=100.0 if arguments.percentile is None else arguments.percentile,
        threshold=arguments.threshold or 0.0,
        reject=arguments.reject,
    )


def table(found: Folder, selection: Selection, quantity: str) -> list[str]:
    """One line an image, best first. Ranks count the images of the folder that were made under the same settings."""
    kept = set(selection.kept)
    lines = []
    groups: dict[str, dict[int, int]] = {}  # of each image that has a score, its place
    for index in selection.best_first:
        known = found.images[index][1]
        group = groups.setdefault(known.fingerprint, {})
        if math.isfinite(known.scores[quantity][0]):
            group[index] = len(group)
    width = max(len(path.name) for path, _ in found.images)
    for index in selection.best_first:
        path, known = found.images[index]
        value, error = known.scores[quantity]
        group = groups[known.fingerprint]
        others = len(group) - 1
        if index not in group:
            beaten = "no score"
        else:
            beaten = f"better than {100 * (others - group[index]) // others:3} % of {others}" if others else "alone"
        mark = "kept" if index in kept else "rejected"
        lines.append(f"{path.name:<{width}}  {value:.6g} ± {error:.2g}  {beaten:<24}  {mark}")
    if len(groups) > 1:
        lines.append(f"the images were made under {len(groups)} different settings: scores compare within each only.")
    return lines


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
    found = look(folder)
    for reason in found.unknown:
        print(f"left out: {reason}", file=sys.stderr)
    if not found.images:
        sys.exit(f"error: no image in {folder} knows its scores.")
    selection = chosen(found, arguments)
    print("\n".join(table(found, selection, arguments.quantity)))
    if arguments.move:
        for index in selection.rejected:
            culling.reject(folder, found.images[index][0])
        print(f"moved {len(selection.rejected)} of {len(found.images)} to {folder / culling.REJECTED}; --undo brings them back.")


def undo(folder: Path) -> None:
    """Bring everything back that was rejected."""
    rejected = folder / culling.REJECTED
    files = [path for path in sorted(rejected.iterdir()) if path.is_file()] if rejected.is_dir() else []
    for path in files:
        culling.restore(folder, path)
    print(f"brought {len(files)} back from {rejected}.")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main = argparse.ArgumentParser(prog="python -m uncertainty", description=__doc__.splitlines()[0])
    commands = main.add_subparsers(required=True)
    ranking = commands.add_parser("rank", help="list images by their scores, best first", description=HELP)
    ranking.set_defaults(run=rank)
    ranking.add_argument("folder", type=Path, help="where the PNG files are; folders in it are left alone")
    ranking.add_argument("--quantity", choices=SCORES, default=DEFAULT_QUANTITY, help="which score (default: %(default)s)")
    ranking.add_argument(
        "--reject", choices=REJECT, help=f"which end is bad (default: highest; lowest for {', '.join(SURE_WHEN_HIGH)})"
    )
    rule = ranking.add_mutually_exclusive_group()
    rule.add_argument("--keep", type=_count, metavar="N", help="keep the best N")
    rule.add_argument("--percentile", type=_percentile, metavar="P", help="keep the best P per cent")
    rule.add_argument("--threshold", type=_score, metavar="T", help="keep what is on the good side of this score")
    action = ranking.add_mutually_exclusive_group()
    action.add_argument("--move", action="store_true", help=f"move the rest into FOLDER/{culling.REJECTED}")
    action.add_argument("--undo", action="store_true", help="bring everything back from there")
    command.add_parser(commands)
    return main


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text}.")
    return int(text)


def _percentile(text: str) -> float:
    value = _score(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 100, got {text}.")
    return value


def _score(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number, got {text}.")
    return value


def main() -> None:
    """Entry."""
    arguments = parser().parse_args()
    try:
        arguments.run(arguments)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped")


if __name__ == "__main__":
    main()
