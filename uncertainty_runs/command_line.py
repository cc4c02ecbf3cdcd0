"""``python -m uncertainty``: the command line. Its commands are in ``ranked``, ``batch.command`` and ``evaluation.command``."""

import argparse
import math
import sys
from pathlib import Path

from uncertainty.choosing import rejecting
from uncertainty.quantities import DEFAULT_QUANTITY
from uncertainty.scores import BAD_ENDS, SCORES, bad_end

from . import batch_command as batch
from .evaluation import evaluate_command as evaluation
from .rank import rank

HELP = """\
Without --move nothing is touched. Scores are those that Save Image (Uncertainty) wrote into the files, or the rows of a batch.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main = argparse.ArgumentParser(prog="python -m uncertainty", description="Draw, rank and judge images by uncertainty.")
    commands = main.add_subparsers(required=True)
    ranking = commands.add_parser("rank", help="list images by their scores, best first", description=HELP)
    ranking.set_defaults(run=rank)
    ranking.add_argument("folder", type=Path, help="where the PNG files are, not those below it; or the --output of a batch")
    ranking.add_argument("--quantity", choices=SCORES, default=DEFAULT_QUANTITY, help="which score (default: %(default)s)")
    ranking.add_argument(
        "--reject",
        choices=BAD_ENDS,
        help=f"which end is bad (default: highest; lowest for {', '.join(name for name in SCORES if bad_end(name) == 'lowest')})",
    )
    rule = ranking.add_mutually_exclusive_group()
    rule.add_argument("--keep", type=batch.positive, metavar="N", help="keep the best N")
    rule.add_argument("--percentile", type=_percentile, metavar="P", help="keep the best P per cent")
    rule.add_argument("--threshold", type=_score, metavar="T", help="keep what is on the good side of this score")
    ranking.add_argument("--each-prompt", action="store_true", help="the rule for each prompt's images on their own; of a batch")
    action = ranking.add_mutually_exclusive_group()
    action.add_argument("--move", action="store_true", help=f"move the rest into a folder {rejecting.REJECTED} beside them")
    action.add_argument("--undo", action="store_true", help="bring everything back from there")
    batch.add_parsers(commands)
    evaluation.add_parser(commands)
    return main


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
