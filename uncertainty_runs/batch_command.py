"""The command ``batch``: a workflow for many prompts and seeds, on one machine or a cluster."""

import argparse
import sys

from .argument_types import Parser, copyable, path, positive, seed_range, started
from .drawing import draw
from .engine_options import add_engine, describing, engines, stopping
from .given_paths import check_given
from .node_info import Describe
from .plan import Plan, jobs_for, read_prompts
from .rows import Rows, check_library
from .run_folder import ROWS, without_scores
from .terminal import printable_lines, say, warn
from .workflow import Workflow

HELP = """\
Runs a workflow for every prompt and seed, in a ComfyUI in this process, without a web server. FILE is a workflow saved with
File → Export (API). The last of its samplers is measured: KSampler, KSampler (Advanced), SamplerCustom, SamplerCustomAdvanced or
one of this pack's. Prompts may be connected; texts that other nodes put together are refused (all cases: docs/scale.md). Nodes
behind the decoded images are left out. Images, maps and rows are written to --output. Started again, the command runs only what
is missing there.
"""
MAPS = ("none", "sum", "every_step")


def add_parser(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add ``batch`` to the commands."""
    batch = commands.add_parser("batch", help="run a workflow for many prompts and seeds", description=HELP)
    batch.set_defaults(run=run)
    batch.add_argument("--workflow", type=path, required=True, metavar="FILE", help="workflow in API format")
    batch.add_argument(
        "--output", type=path, required=True, metavar="DIR",
        help="folder for images, maps and rows; the machines of a cluster need not see it",
    )  # fmt: skip
    batch.add_argument(
        "--count", type=positive, metavar="N",
        help="number of images, rounded up to whole runs (default: one run per prompt and seed)",
    )  # fmt: skip
    batch.add_argument(
        "--seeds", type=seed_range, metavar="A:B", help="seeds A to B - 1 for every prompt (default: from 0, as --count needs)"
    )
    batch.add_argument("--prompts", type=path, metavar="FILE", help="one prompt per line (default: the workflow's own)")
    batch.add_argument("--batch", type=positive, metavar="B", help="images of one run (default: the workflow's batch size)")
    batch.add_argument(
        "--draw", type=positive, metavar="N",
        help="begin N images in each run, and finish the --finish best after 30 %% of the steps; --count counts finished images",
    )  # fmt: skip
    batch.add_argument("--finish", type=positive, metavar="M", help="images to finish of those that --draw begins")
    batch.add_argument(
        "--maps", choices=MAPS, default="none",
        help="maps to keep: none, their sum over the steps, or every step (default: %(default)s)",
    )  # fmt: skip
    batch.add_argument("--verify", action="store_true", help="compare checksums of existing files, not only their sizes")
    add_engine(batch)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    check_library()
    check_given(arguments)
    check_amount(arguments)
    with stopping(), engines(arguments) as engine:
        try:
            draw(engine, planned(arguments, describing(engine)), arguments.output, verify=arguments.verify)
        except KeyboardInterrupt:
            again = copyable([*started(), *sys.argv[1:]])
            sys.exit(printable_lines(f"stopped. Finished images are kept. To resume:\n  {again}"))
    count = sum(len(table) for table in Rows(arguments.output / ROWS).batches(["number"]))
    say(f"{count} images in {arguments.output}")
    if lost := without_scores(arguments.output):
        warn(lost)
    say(copyable([*started(), "rank", str(arguments.output), "--keep", "1"]))


def check_amount(arguments: argparse.Namespace) -> None:
    """Raise ValueError where neither a count nor seeds are given, or numbers of images do not fit together."""
    if arguments.count is None and arguments.seeds is None:
        raise ValueError("count: give --count N, or --seeds A:B, or both.")
    draw, finish = arguments.draw, arguments.finish
    if (draw is None) != (finish is None):
        raise ValueError("draw: give --draw N and --finish M together, or neither.")
    if draw is not None and finish >= draw:
        raise ValueError(f"finish: must be below --draw {draw}, got {finish}.")
    if draw is not None and arguments.batch is not None:
        raise ValueError(f"batch: leave out --batch, since --draw {draw} says how many images a run begins.")


def planned(arguments: argparse.Namespace, describe: Describe) -> Plan:
    """The plan that the command line asks for.

    Raises:
        ValueError: it asks for more images than prompts and seeds give.
    """
    workflow = Workflow.read(arguments.workflow, describe)
    if arguments.maps == "sum":
        workflow = workflow.with_options(keep_maps="sum")
    if arguments.finish is not None:
        workflow = workflow.finishing(arguments.finish)
    size = arguments.finish or arguments.batch or workflow.batch_size()
    prompts = read_prompts(arguments.prompts) if arguments.prompts else None
    first, end = arguments.seeds or (0, None)
    wanted = None if arguments.count is None else jobs_for(arguments.count, size)
    if end is not None:
        most = (end - first) * len(prompts or [""])
        if wanted is not None and wanted > most:
            raise ValueError(
                f"count: {arguments.count} images need {wanted} runs, but --seeds and prompts give only {most}: give more seeds."
            )
        wanted = most if wanted is None else wanted
    maps = arguments.maps != "none"
    return Plan(workflow, prompts, first, wanted or 0, size, maps=maps, drawn=arguments.draw)
