"""The four protocols from start to end: draw, judge, and write what was found."""

import argparse
import json
from collections.abc import Sequence

import torch
from torch import Tensor

from ..files import load_map
from ..metrics.distances import check_libraries
from ..metrics.features import Extractor, extractor
from . import course, figures, filtering, guidance, reconstruction
from .collection import Batch, Drawn, arm, collect, map_of, plan, saved_under, seconds_a_batch
from .judges import Judged, Reference, judge, prompt_numbers, reward
from .report import Table
from .server import Server
from .workflow import Workflow

SHOWN = 20
DEFAULT_FEATURES = "efficientnet-lite0"


def run_filtering(arguments: argparse.Namespace) -> None:
    """Protocol 1."""
    figures.check_library()
    workflow = Workflow.read(arguments.workflow).sampling(strength=0.0)
    if arguments.baselines:
        workflow = workflow.measuring(**dict.fromkeys(arguments.baselines, True))
    seen = _extractors(arguments)
    if seen:
        check_libraries()
    size = arguments.batch or workflow.batch_size()
    folder = arguments.out / "images"
    batches = arm(folder, workflow, plan(_prompts(arguments, workflow), arguments.count, size, arguments.seed), size)
    images = collect(Server(arguments.server), batches, folder)
    found = filtering.scored(images)
    filtering.scores(found, "scores").write(arguments.out)
    qualities = reward(images, arguments.reward)
    for one in seen:
        judged, real = judge(images, one, Reference.of(arguments.reference), folder)
        distances = filtering.distances(found, judged, real, f"distances {one.name}")
        distances.write(arguments.out)
        for scope in filtering.SCOPES:
            filtering.gains(distances, scope, f"gains {scope} {one.name}").write(arguments.out)
        qualities |= {f"{quality} ({one.name})": values for quality, values in judged.qualities.items()}
    if qualities:
        _write_filtering(arguments, found, qualities)
    _show_filtering(arguments, found)
    _finish(arguments, seconds_a_batch(folder))


def _write_filtering(arguments: argparse.Namespace, found: filtering.Scored, qualities: dict[str, Tensor]) -> None:
    correlations = filtering.correlations(found, qualities, "rank correlations")
    gains = filtering.best_of(found, qualities, "best of k")
    tables = [correlations, gains]
    cell = ("rank correlation", "95 % interval")
    tables.append(correlations.pivot("rank correlations within prompt", "method", "quality", cell, over="within prompt"))
    cell = ("share of the possible gain", "95 % interval")
    tables += [gains.pivot(f"best of {k}", "method", "quality", cell, k=k) for k in filtering.KS]
    for table in tables:
        table.write(arguments.out)
    figures.best_of(gains, arguments.out / "best of k.png")


def _show_filtering(arguments: argparse.Namespace, found: filtering.Scored) -> None:
    """Sheets of the best and worst images by every method."""
    every = torch.zeros_like(found.prompts)
    for scope, prompts, count in (("of each prompt", found.prompts, 1), ("of all images", every, SHOWN)):
        rows = []
        for method, badness in found.badness.items():
            for end, chosen in zip(("best", "worst"), filtering.extremes(badness, prompts, SHOWN, count), strict=True):
                rows.append((f"{method}: {end} {scope}", [found.images[i].path for i in chosen]))
        figures.sheet(rows, arguments.out / f"best and worst {scope}.jpg", 64)


def run_reconstruction(arguments: argparse.Namespace) -> None:
    """Protocol 2."""
    figures.check_library()
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
    _finish(arguments, seconds_a_batch(folder))


def run_guidance(arguments: argparse.Namespace) -> None:
    """Protocol 3."""
    figures.check_library()
    workflow = Workflow.read(arguments.workflow)
    seen, reference = _extractors(arguments), Reference.of(arguments.reference)
    size = arguments.batch or workflow.batch_size()
    planned = plan(_prompts(arguments, workflow), arguments.count, size, arguments.seed)
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
    rows = [(each.name, [image.path for image in images[each.name][::size][:SHOWN]]) for each in arms]
    figures.sheet(rows, arguments.out / "sheet.jpg", 64)
    _finish(arguments, seconds)


def run_course(arguments: argparse.Namespace) -> None:
    """Protocol 4."""
    figures.check_library()
    workflow = Workflow.read(arguments.workflow)
    # A flow model has no image at its first level.
    workflow = workflow.sampling(strength=0.0, window_start=1 / workflow.steps(), window_end=1.0)
    size = arguments.batch or workflow.batch_size()
    folder = arguments.out / "images"
    planned = plan(_prompts(arguments, workflow), arguments.count, size, arguments.seed)
    images = collect(Server(arguments.server), arm(folder, workflow, planned, size, maps=True), folder)
    found = course.Course.of(load_map(map_of(folder, number)) for number in range(len(planned)))
    table = course.course(found, "course")
    table.write(arguments.out)
    figures.course(table, arguments.out / "course.png")
    qualities = reward(images, arguments.reward)
    for one in _extractors(arguments):
        judged, _ = judge(images, one, Reference.of(arguments.reference), folder)
        qualities |= {f"{quality} ({one.name})": values for quality, values in judged.qualities.items()}
    if qualities:
        _write_ranking(arguments, found, prompt_numbers(images), qualities)
    _finish(arguments, seconds_a_batch(folder))


def _write_ranking(arguments: argparse.Namespace, found: course.Course, prompts: Tensor, qualities: dict[str, Tensor]) -> None:
    parts = [rows for part in course.PARTS if (rows := found.within(*part))]
    by_part = course.ranking(found, prompts, qualities, parts, "ranking by part")
    by_step = course.ranking(found, prompts, qualities, [[row] for row in range(len(found.steps))], "ranking by step")
    tables: list[Table] = [by_part, by_step]
    cell = ("rank correlation", "95 % interval")
    tables += [by_part.pivot(f"ranking by part {q}", "steps", "quantity", cell, quality=q) for q in qualities]
    for table in tables:
        table.write(arguments.out)
    figures.ranking(by_step, arguments.out / "ranking by step.png")


def _prompts(arguments: argparse.Namespace, workflow: Workflow) -> list[str]:
    """What is drawn."""
    if arguments.prompts is None:
        return [workflow.prompt()]
    found = [line.strip() for line in arguments.prompts.read_text().splitlines() if line.strip()]
    if not found:
        raise ValueError(f"prompts: {arguments.prompts} is empty, one prompt a line is expected.")
    return found


def _extractors(arguments: argparse.Namespace) -> list[Extractor]:
    """What sees likeness to the real pictures, if there are any."""
    if arguments.reference is None:
        return []
    return [extractor(spec) for spec in arguments.features or [DEFAULT_FEATURES]]


def _finish(arguments: argparse.Namespace, seconds: Sequence[float]) -> None:
    """Say where the results are, and keep what they were made with."""
    about = {"count": arguments.count, "seed": arguments.seed, "drawing_seconds": round(sum(seconds))}
    about |= {"workflow": json.loads(arguments.workflow.read_text())}
    (arguments.out / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"results: {arguments.out}")
