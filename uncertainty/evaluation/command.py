"""``python -m uncertainty evaluate PROTOCOL --workflow FILE``: the command line of the protocols."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ..files import load_map
from ..metrics.distances import check_libraries
from ..metrics.features import Extractor, extractor
from ..metrics.ranking import within_groups
from . import course, figures, filtering, guidance, reconstruction
from .collection import Batch, Drawn, arm, collect, map_of, plan, saved_under, seconds_a_batch
from .judges import Judged, Reference, judge, prompt_numbers
from .server import Server
from .workflow import Workflow

SERVER = "http://127.0.0.1:8188"
SHOWN = 12
DEFAULT_FEATURES = "efficientnet-lite0"

HELP = """\
ComfyUI must be running with this pack. FILE is a workflow saved with File → Export (API): KSampler in it becomes KSampler
(Uncertainty), whatever it saves or shows is left out, nothing else changes. Images, tables and figures go to --out; started
again, a command goes on where it stopped.
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``evaluate`` to the commands of ``python -m uncertainty``."""
    evaluate = commands.add_parser("evaluate", help="rerun the paper's protocols on a workflow", description=HELP)
    protocols = evaluate.add_subparsers(required=True, metavar="PROTOCOL")
    described: dict[str, tuple[str, Callable[[argparse.Namespace], None], int]] = {
        "filtering": ("are images of low score better? (the paper's Table 1, and best of k)", run_filtering, 2000),
        "reconstruction": ("is uncertainty high where the model is wrong? (Table 2)", run_reconstruction, 8),
        "guidance": ("are guided images better? (Table 3)", run_guidance, 128),
        "course": ("uncertainty over the steps (Fig. 3), and where it ranks best", run_course, 32),
    }
    for name, (text, run, count) in described.items():
        one = protocols.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]} {HELP}")
        one.set_defaults(run=checked(run, distances=name == "filtering"))
        one.add_argument("--workflow", type=Path, required=True, metavar="FILE", help="in API format")
        one.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where images and results go")
        one.add_argument("--server", default=SERVER, metavar="URL", help="the running ComfyUI (default: %(default)s)")
        one.add_argument("--seed", type=int, default=1, help="of the first batch; the others count on (default: %(default)s)")
        meaning = "noise draws of each picture" if name == "reconstruction" else "images in all, or a few more"
        one.add_argument("--count", type=int, default=count, help=f"{meaning} (default: %(default)s)")
        if name != "reconstruction":
            one.add_argument("--prompts", type=Path, metavar="FILE", help="one a line (default: the workflow's own)")
            one.add_argument("--batch", type=int, help="images of one run (default: the workflow's)")
        one.add_argument(
            "--reference", type=Path, required=name != "course", metavar="FOLDER",
            help="real pictures; captions are text files beside them, or their names",
        )  # fmt: skip
        if name != "reconstruction":
            one.add_argument(
                "--features", action="append", metavar="NAME",
                help=f"what sees likeness: {DEFAULT_FEATURES} (default), inception-v3=FILE, package.module:name; may be repeated",
            )  # fmt: skip
        if name == "filtering":
            one.add_argument(
                "--baselines", nargs="*", default=[], metavar="NAME", choices=("paper_score", "mc_dropout", "cfg_rejection"),
                help="measure these too: paper_score, mc_dropout, cfg_rejection; bayesdiff, where the workflow fits it",
            )  # fmt: skip


def checked(run: Callable[[argparse.Namespace], None], *, distances: bool) -> Callable[[argparse.Namespace], None]:
    """A protocol that first makes sure of the libraries it needs when everything is drawn."""

    def checking(arguments: argparse.Namespace) -> None:
        figures.check_library()
        if distances:
            check_libraries()
        run(arguments)

    return checking


def prompts(arguments: argparse.Namespace, workflow: Workflow) -> list[str]:
    """What is drawn."""
    if arguments.prompts is None:
        return [workflow.prompt()]
    found = [line.strip() for line in arguments.prompts.read_text().splitlines() if line.strip()]
    if not found:
        raise ValueError(f"prompts: {arguments.prompts} is empty, one prompt a line is expected.")
    return found


def extractors(arguments: argparse.Namespace) -> list[Extractor]:
    """What sees likeness."""
    return [extractor(spec) for spec in arguments.features or [DEFAULT_FEATURES]]


def run_filtering(arguments: argparse.Namespace) -> None:
    """Protocol 1."""
    workflow = Workflow.read(arguments.workflow).sampling(strength=0.0)
    if arguments.baselines:
        workflow = workflow.measuring(**dict.fromkeys(arguments.baselines, True))
    seen, reference = extractors(arguments), Reference.of(arguments.reference)
    size = arguments.batch or workflow.batch_size()
    folder = arguments.out / "images"
    batches = arm(folder, workflow, plan(prompts(arguments, workflow), arguments.count, size, arguments.seed), size)
    images = collect(Server(arguments.server), batches, folder)
    found = filtering.scored(images)
    qualities: dict[str, torch.Tensor] = {}
    for one in seen:
        judged, real = judge(images, one, reference, folder)
        filtering.distances(found, judged, real, f"distances {one.name}").write(arguments.out)
        qualities |= {f"{quality} ({one.name})": values for quality, values in judged.qualities.items()}
    correlations = filtering.correlations(found, qualities, "rank correlations")
    correlations.write(arguments.out)
    cell = ("rank correlation", "95 % interval")
    correlations.pivot("rank correlations within prompt", "method", "quality", cell, over="within prompt").write(arguments.out)
    gains = filtering.best_of(found, qualities, "best of k")
    gains.write(arguments.out)
    cell = ("share of the possible gain", "95 % interval")
    for k in filtering.KS:
        gains.pivot(f"best of {k}", "method", "quality", cell, k=k).write(arguments.out)
    figures.best_of(gains, arguments.out / "best of k.png")
    for method, badness in found.badness.items():
        within = within_groups(badness, found.prompts)
        order = torch.sort(within, stable=True).indices
        rows = [("best", order[: 2 * SHOWN]), ("worst", order.flip(0)[: 2 * SHOWN])]
        pictures = [(f"{method}, within prompt: {end}", [images[i].path for i in chosen]) for end, chosen in rows]
        figures.sheet(pictures, arguments.out / f"sheet {method}.png", 64)
    finished(arguments, seconds_a_batch(folder))


def run_reconstruction(arguments: argparse.Namespace) -> None:
    """Protocol 2."""
    workflow = Workflow.read(arguments.workflow)
    reference, server = Reference.of(arguments.reference), Server(arguments.server)
    folder = arguments.out / "images"
    batches = []
    for number, (path, caption) in enumerate(zip(reference.paths, reference.captions, strict=True)):
        uploaded = server.upload(f"{path.stem}.tiff", reconstruction.stack(path, arguments.count), "uncertainty-evaluation")
        drawn = reconstruction.noised(workflow, uploaded).drawing(caption, arguments.seed + number)
        graph = drawn.saving(saved_under(folder), maps=True)
        batches.append(Batch(number, caption, arguments.seed + number, graph))
    images = collect(server, batches, folder)
    found = reconstruction.measure(images, reference, folder)
    reconstruction.summary(found, "sparsification").write(arguments.out)
    figures.sparsification(found, arguments.out / "sparsification.png")
    figures.examples(images, reference, folder, arguments.out / "examples.png")
    finished(arguments, seconds_a_batch(folder))


def run_guidance(arguments: argparse.Namespace) -> None:
    """Protocol 3."""
    workflow = Workflow.read(arguments.workflow)
    seen, reference = extractors(arguments), Reference.of(arguments.reference)
    size = arguments.batch or workflow.batch_size()
    planned = plan(prompts(arguments, workflow), arguments.count, size, arguments.seed)
    arms = guidance.arms(workflow)
    images: dict[str, list[Drawn]] = {}
    seconds = []
    for each in arms:
        folder = arguments.out / each.name
        images[each.name] = collect(Server(arguments.server), arm(folder, each.workflow, planned, size), folder)
        seconds += seconds_a_batch(folder)
    for one in seen:
        judged: dict[str, Judged] = {}
        for each in arms:
            judged[each.name], real = judge(images[each.name], one, reference, arguments.out / each.name)
        guidance.compared(arms, images, judged, real, f"guidance {one.name}").write(arguments.out)
    rows = [(each.name, [image.path for image in images[each.name][:SHOWN]]) for each in arms]
    figures.sheet(rows, arguments.out / "sheet.png", 64)
    finished(arguments, seconds)


def run_course(arguments: argparse.Namespace) -> None:
    """Protocol 4."""
    workflow = Workflow.read(arguments.workflow)
    # A flow model has no image at its first level.
    workflow = workflow.sampling(strength=0.0, window_start=1 / workflow.steps(), window_end=1.0)
    size = arguments.batch or workflow.batch_size()
    folder = arguments.out / "images"
    planned = plan(prompts(arguments, workflow), arguments.count, size, arguments.seed)
    images = collect(Server(arguments.server), arm(folder, workflow, planned, size, maps=True), folder)
    found = course.Course.of(load_map(map_of(folder, number)) for number in range(len(planned)))
    table = course.course(found, "course")
    table.write(arguments.out)
    figures.course(table, arguments.out / "course.png")
    if arguments.reference is not None:
        reference = Reference.of(arguments.reference)
        qualities: dict[str, torch.Tensor] = {}
        for one in extractors(arguments):
            judged, _ = judge(images, one, reference, folder)
            qualities |= {f"{quality} ({one.name})": values for quality, values in judged.qualities.items()}
        numbers = prompt_numbers(images)
        parts = [rows for part in course.PARTS if (rows := found.within(*part))]
        by_part = course.ranking(found, numbers, qualities, parts, "ranking by part")
        by_part.write(arguments.out)
        for quality in qualities:
            cell = ("rank correlation", "95 % interval")
            by_part.pivot(f"ranking by part {quality}", "steps", "quantity", cell, quality=quality).write(arguments.out)
        single = course.ranking(found, numbers, qualities, [[row] for row in range(len(found.steps))], "ranking by step")
        single.write(arguments.out)
        figures.ranking(single, arguments.out / "ranking by step.png")
    finished(arguments, seconds_a_batch(folder))


def finished(arguments: argparse.Namespace, seconds: Sequence[float]) -> None:
    """Say where the results are, and keep what they were made with."""
    about = {"count": arguments.count, "seed": arguments.seed}
    about |= {"drawing_seconds": round(sum(seconds)), "workflow": json.loads(arguments.workflow.read_text())}
    (arguments.out / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"results: {arguments.out}")
