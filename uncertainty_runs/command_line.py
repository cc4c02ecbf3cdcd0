"""The command ``uncertainty``, also ``python -m uncertainty``.

Commands import what they need only when they run, so that ``--help`` and ``rank`` work where few packages are installed.
"""

import argparse
import math
import sys

from uncertainty.choosing import rejecting
from uncertainty.quantities import DEFAULT_QUANTITY
from uncertainty.scores import BAD_ENDS, SCORES, bad_end

from . import batch_command, record_command
from .argument_types import Parser, copyable, path, positive, started
from .evaluation import evaluate_command
from .terminal import printable_lines, replace_what_cannot_be_shown

RANK_HELP = """\
Lists the images of a folder by their scores, best first, each among the images of its prompt and settings. Files are moved only
with --move. The scores are read from the PNG files that Save Image (Uncertainty) wrote, in the folder and its subfolders, or from
the rows of a batch.
"""

# The name of a package for pip, by the name it is imported by.
PACKAGES = {"PIL": "pillow", "filelock": "filelock", "safetensors": "safetensors", "tqdm": "tqdm"}


def parser() -> Parser:
    """The command line."""
    main = Parser(prog=copyable(started()), description="Generate, rank and evaluate images by their uncertainty.")
    commands = main.add_subparsers(required=True, metavar="COMMAND")
    _add_rank(commands)
    batch_command.add_parser(commands)
    record_command.add_parser(commands)
    evaluate_command.add_parser(commands)
    return main


def _add_rank(commands: "argparse._SubParsersAction[Parser]") -> None:
    lowest = ", ".join(name for name in SCORES if bad_end(name) == "lowest")
    rank = commands.add_parser("rank", help="list images by their scores, best first", description=RANK_HELP)
    rank.set_defaults(run=_rank)
    rank.add_argument("folder", type=path, help="folder of PNG files, or the --output of a batch")
    rank.add_argument("--quantity", choices=SCORES, default=DEFAULT_QUANTITY, help="which score (default: %(default)s)")
    rank.add_argument("--reject", choices=BAD_ENDS, help=f"which scores are bad (default: highest, except lowest for {lowest})")
    rule = rank.add_mutually_exclusive_group()
    rule.add_argument("--keep", type=positive, metavar="N", help="keep the best N images of each prompt")
    rule.add_argument("--percentile", type=_percentile, metavar="P", help="keep the best P percent of each prompt")
    rule.add_argument("--threshold", type=_score, metavar="T", help="keep the images on the good side of this score")
    prompts = rank.add_mutually_exclusive_group()
    prompts.add_argument(
        "--each-prompt",
        dest="across_prompts",
        action="store_false",
        default=False,
        help="rank and choose among the images of each prompt (default)",
    )
    prompts.add_argument(
        "--across-prompts",
        action="store_true",
        help="rank and choose among the images of all prompts, which mixes easy and difficult ones",
    )
    action = rank.add_mutually_exclusive_group()
    action.add_argument("--move", action="store_true", help=f"move all other images into subfolders named {rejecting.REJECTED}")
    action.add_argument("--undo", action="store_true", help="move all rejected images back")


def _rank(arguments: argparse.Namespace) -> None:
    from .rank import rank

    rank(arguments)


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
    """Run the command line of this process; errors end it with one line on stderr."""
    replace_what_cannot_be_shown()
    arguments = parser().parse_args()
    try:
        arguments.run(arguments)
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        sys.exit(f"error: this command needs the package {PACKAGES[error.name]}: pip install {PACKAGES[error.name]}")
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"error: {printable_lines(error)}")
    except KeyboardInterrupt:
        sys.exit("stopped")


if __name__ == "__main__":
    main()
