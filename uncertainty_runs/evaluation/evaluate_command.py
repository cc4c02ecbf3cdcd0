"""``python -m uncertainty evaluate PROTOCOL --workflow FILE``: the command line of the protocols."""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

from ..batch_command import add_engine, engines, stopping
from ..drawing import OneByOne
from ..engines.http_server import Server
from . import protocols

SERVER = "http://127.0.0.1:8188"

HELP = """\
FILE is a workflow saved with File → Export (API): KSampler in it becomes KSampler
(Uncertainty), whatever it saves or shows is left out, nothing else changes. It is drawn by a running ComfyUI, --server; or, with
--comfyui, --workers or --address, as by the command batch. Images, tables and figures go to --out; started again, a command goes
on where it stopped.
"""

# By name: what it asks, its function, and how much it draws.
PROTOCOLS: dict[str, tuple[str, Callable[[argparse.Namespace], None], int]] = {
    "filtering": ("are images of low score better? (the paper's Table 1, and best of k)", protocols.run_filtering, 2000),
    "reconstruction": ("is uncertainty high where the model is wrong? (Table 2)", protocols.run_reconstruction, 8),
    "guidance": ("are guided images better? (Table 3)", protocols.run_guidance, 128),
    "course": ("uncertainty over the steps (Fig. 3), and where it ranks best", protocols.run_course, 32),
}
NEED_REFERENCE = ("reconstruction", "guidance")


def drawn(run: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> None:
    """Run a protocol with what draws for it.

    Raises:
        ValueError: a running ComfyUI and one of our own were asked for.
    """
    own = arguments.comfyui or arguments.workers or arguments.address
    if own and arguments.server:
        raise ValueError("server: give either --server, or --comfyui, --workers and --address.")
    if not own:
        server = OneByOne(Server(arguments.server or SERVER))
        arguments.engine = lambda: server
        run(arguments)
        return
    with stopping(), engines(arguments) as arguments.engine:
        run(arguments)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``evaluate`` to the commands of ``python -m uncertainty``."""
    evaluate = commands.add_parser("evaluate", help="rerun the paper's protocols on a workflow", description=HELP)
    parsers = evaluate.add_subparsers(required=True, metavar="PROTOCOL")
    for name, (text, run, count) in PROTOCOLS.items():
        one = parsers.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]} {HELP}")
        one.set_defaults(run=functools.partial(drawn, run))
        one.add_argument("--workflow", type=Path, required=True, metavar="FILE", help="in API format")
        one.add_argument(
            "--out", type=Path, default=Path("evaluation", name), metavar="FOLDER",
            help="where images and results go (default: %(default)s)",
        )  # fmt: skip
        one.add_argument("--server", metavar="URL", help=f"the running ComfyUI (default: {SERVER})")
        add_engine(one)
        one.add_argument("--seed", type=int, default=1, help="of the first batch; the others count on (default: %(default)s)")
        meaning = "noise draws of each picture" if name == "reconstruction" else "images in all, or a few more"
        one.add_argument("--count", type=int, default=count, help=f"{meaning} (default: %(default)s)")
        needed = name in NEED_REFERENCE
        without = "" if needed else "; without it nothing is compared with them"
        one.add_argument(
            "--reference", type=Path, required=needed, metavar="FOLDER",
            help=f"real pictures; captions are text files beside them, or their names{without}",
        )  # fmt: skip
        if name == "reconstruction":
            continue
        one.add_argument("--prompts", type=Path, metavar="FILE", help="one a line (default: the workflow's own)")
        one.add_argument("--batch", type=int, help="images of one run (default: the workflow's)")
        one.add_argument(
            "--features", action="append", metavar="NAME",
            help=f"what sees likeness: {protocols.DEFAULT_FEATURES} (default), inception-v3=FILE, package.module:name",
        )  # fmt: skip
        if name != "guidance":
            one.add_argument(
                "--reward", action="append", default=[], metavar="NAME",
                help="a judge of your own, package.module:name: called with images (B, 3, H, W) and their prompts it gives (B,)",
            )  # fmt: skip
        if name == "filtering":
            one.add_argument(
                "--baselines", nargs="*", default=[], metavar="NAME", choices=("paper_score", "mc_dropout", "cfg_rejection"),
                help="measure these too: paper_score, mc_dropout, cfg_rejection; bayesdiff, where the workflow fits it",
            )  # fmt: skip
