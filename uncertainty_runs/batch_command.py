"""``python -m uncertainty batch`` and ``record``: a workflow drawn thousands of times, on one machine or a cluster."""

import argparse
import functools
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from uncertainty.choosing.rejecting import REJECTED
from uncertainty.quantities import QUANTITIES
from uncertainty.storage.ledger import Ledger

from .drawing import Engine, OneByOne, Renderer, draw
from .engines.ray_workers import PACK, RayEngine
from .plan import Plan, jobs_for, read_prompts
from .rows import NUMBERS, TEXTS, Rows, check_library, record_in
from .run_folder import ROWS, present
from .workflow import Workflow

HELP = """\
FILE is a workflow saved with File → Export (API): KSampler in it becomes KSampler (Uncertainty), whatever it saves or shows is
left out. It is run for every prompt and seed, by a ComfyUI in this process, without a web server. Images, maps and rows go to
--output; started again, the command draws what is missing. What stands behind -- are ComfyUI's own options.
"""
MAPS = ("none", "sum", "every_step")


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``batch`` and ``record`` to the commands of ``python -m uncertainty``."""
    one = commands.add_parser("batch", help="draw a workflow many times, on one machine or a cluster", description=HELP)
    one.set_defaults(run=run)
    one.add_argument("--workflow", type=Path, required=True, metavar="FILE", help="in API format")
    one.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="where everything goes; shared, if machines share the work"
    )
    one.add_argument(
        "--count", type=positive, metavar="N", help="images in all, or a few more (default: one run a prompt and seed)"
    )
    one.add_argument(
        "--seeds", type=_seeds, metavar="A:B", help="seeds A to B - 1 for every prompt (default: from 0, as --count needs)"
    )
    one.add_argument("--prompts", type=Path, metavar="FILE", help="one a line (default: the workflow's own)")
    one.add_argument("--batch", type=positive, metavar="B", help="images of one run (default: the workflow's)")
    one.add_argument(
        "--maps", choices=MAPS, default="none", help="keep maps: their sum over the steps, or every step's (default: %(default)s)"
    )
    one.add_argument("--verify", action="store_true", help="compare checksums of what is there, not only sizes")
    add_engine(one)
    recording = commands.add_parser(
        "record",
        help="tell ComfyUI's sidebar of a batch",
        description="DIR must lie below ComfyUI's output folder. Twice is once.",
    )
    recording.set_defaults(run=record)
    recording.add_argument("folder", type=Path, metavar="DIR", help="the --output of a batch")


def add_engine(one: argparse.ArgumentParser) -> None:
    """What draws: the options that ``batch`` and ``evaluate`` share."""
    one.add_argument(
        "--comfyui", type=Path, metavar="DIR", help="the folder with ComfyUI's main.py (default: the one this pack lies in)"
    )
    one.add_argument("--workers", type=positive, metavar="N", help="ComfyUIs side by side, by Ray (default: one a GPU)")
    one.add_argument("--address", metavar="ADDRESS", help="of a Ray cluster, or auto (default: this machine alone)")
    one.add_argument("options", nargs="*", metavar="-- OPTIONS", help="ComfyUI's own, behind --")


def run(arguments: argparse.Namespace) -> None:
    """The command ``batch``."""
    check_library()
    plan = planned(arguments)
    with stopping(), engines(arguments) as engine:
        try:
            draw(engine, plan, arguments.output, verify=arguments.verify)
        except KeyboardInterrupt:
            sys.exit(f"stopped. What is drawn is kept; this goes on:\n{again(sys.argv[1:])}")
    print(f"{sum(len(table) for table in Rows(arguments.output / ROWS).batches(['number']))} images in {arguments.output}")
    print(f"python -m uncertainty rank {shlex.quote(str(arguments.output))} --each-prompt --keep 1")


def planned(arguments: argparse.Namespace) -> Plan:
    """What the command line asks for.

    Raises:
        ValueError: neither a count nor seeds, or more images than prompts and seeds.
    """
    workflow = Workflow.read(arguments.workflow)
    if arguments.maps == "sum":
        workflow = workflow.with_options(keep_maps="sum")
    size = arguments.batch or workflow.batch_size()
    prompts = read_prompts(arguments.prompts) if arguments.prompts else [workflow.prompt()]
    first, end = arguments.seeds or (0, None)
    every = None if end is None else (end - first) * len(prompts)
    wanted = None if arguments.count is None else jobs_for(arguments.count, size)
    if every is None and wanted is None:
        raise ValueError("count: give --count N, or --seeds A:B, or both.")
    if every is not None and wanted is not None and wanted > every:
        raise ValueError(f"count: {arguments.count} images are {wanted} runs, --seeds and prompts give {every}: give more seeds.")
    return Plan(workflow, prompts, first, wanted or every or 0, size, maps=arguments.maps != "none")


@contextmanager
def engines(arguments: argparse.Namespace) -> Iterator[Callable[[], Engine]]:
    """A function that makes the engine when it is first asked for, and the same ever after; ended in the end."""
    # The one door from here to ComfyUI, which a renderer imports when it is made.
    from uncertainty_runs.engines.in_process import Renderer as Headless

    path = (arguments.comfyui or found_comfyui()).resolve()
    make: Callable[[], Renderer] = functools.partial(Headless, path, tuple(arguments.options))
    workers = arguments.workers
    if workers is None and arguments.address is None:
        workers = _gpus()
    made: list[RayEngine] = []

    @functools.cache
    def engine() -> Engine:
        if workers == 1 and arguments.address is None:
            return OneByOne(make())
        made.append(RayEngine(make, workers, arguments.address))
        return made[0]

    try:
        yield engine
    finally:
        for each in made:
            each.close()


def _gpus() -> int:
    """How many workers this machine has GPUs for; one where Ray is missing, or there is no GPU."""
    count = torch.cuda.device_count()
    if count > 1:
        try:
            import ray  # noqa: F401
        except ImportError:
            print(f"one of {count} GPUs draws, since Ray is not installed: pip install ray for all of them.", file=sys.stderr)
            return 1
    return max(1, count)


def found_comfyui() -> Path:
    """The ComfyUI in whose custom nodes this pack lies, or that of COMFYUI_PATH.

    Raises:
        ValueError: neither is there.
    """
    given = os.environ.get("COMFYUI_PATH")
    path = Path(given).expanduser() if given else PACK.parent.parent
    if not (path / "main.py").is_file():
        raise ValueError(
            "comfyui: this pack does not lie in the custom_nodes of a ComfyUI; give --comfyui DIR, its folder with main.py."
        )
    return path


@contextmanager
def stopping() -> Iterator[None]:
    """A polite end (SIGTERM) is as good as Ctrl-C, which a shell switches off for what it starts in the background."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def again(arguments: list[str]) -> str:
    """A command line to copy."""
    return f"  {shlex.join([Path(sys.executable).name, '-m', 'uncertainty', *arguments])}"


def record(arguments: argparse.Namespace) -> None:
    """The command ``record``."""
    check_library()
    folder = arguments.folder.resolve()
    rows = Rows(folder / ROWS)
    if not rows:
        raise ValueError(f"{arguments.folder} holds no rows: give the --output of a batch.")
    output = next((parent for parent in folder.parents if parent.name == "output"), None)
    if output is None:
        raise ValueError(
            f"{arguments.folder} does not lie below ComfyUI's folder output: its sidebar shows nothing from elsewhere."
        )
    ledger, count = Ledger(output.parent / "user" / "uncertainty" / "ledger.sqlite3"), 0
    scores = [name for quantity in QUANTITIES for name in (quantity, f"{quantity}_error")]
    for table in rows.batches([*NUMBERS, *TEXTS, "file", *scores]):
        images = []
        for line in table.to_pylist():
            path = present(folder / line["file"])
            if path is not None and line["digest"] is not None:
                file, rejected = path.relative_to(output).as_posix(), path.parent.name == REJECTED
                images.append(replace(record_in(line), file=file, rejected=rejected))
        ledger.add(images)
        count += len(images)
    print(f"{count} images are in the ledger {ledger.path}: the sidebar's tab Uncertainty shows them.")


def positive(text: str) -> int:
    """A whole number of at least 1, as a command line takes it."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text}.")
    return int(text)


def _seeds(text: str) -> tuple[int, int]:
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end) <= 1 << 64):
        raise argparse.ArgumentTypeError(f"must be two whole numbers, the first lower, like 0:100, got {text}.")
    return int(first), int(end)
