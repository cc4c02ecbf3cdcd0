"""The four protocols from start to end: draw, judge, and write what was found."""

import argparse
import json
from collections.abc import Sequence

import torch
from torch import Tensor

from uncertainty.metrics.distances import check_libraries
from uncertainty.metrics.features import Extractor, extractor
from uncertainty.storage.records import ImageRecord
from uncertainty.storage.tensor_files import load_map

from ..drawing import Engine, collect
from ..plan import Job, Listed, Plan, jobs_for, read_prompts
from ..rows import check_library
from ..run_folder import map_of, seconds
from ..workflow import Workflow
from . import course_protocol, figures, filtering_protocol, guidance_protocol, reconstruction_protocol
from .judges import Judged, Reference, judge, prompt_numbers, reward
from .report import Table

SHOWN = 20
UPLOADED = "uncertainty-evaluation"
DEFAULT_FEATURES = "efficientnet-lite0"


def run_filtering(arguments: argparse.Namespace) -> None:
    """Protocol 1."""
    workflow = _workflow(arguments).sampling(strength=0.0)
    if arguments.baselines:
        workflow = workflow.measuring(**dict.fromkeys(arguments.baselines, True))
    seen = _extractors(arguments)
    if seen:
        check_libraries()
    folder = arguments.out / "drawn"
    images = collect(arguments.engine, _plan(arguments, workflow), folder)
    found = filtering_protocol.scored(images)
    filtering_protocol.scores(found, "scores").write(arguments.out)
    qualities = reward(images, arguments.reward)
    for one in seen:
        judged, real = judge(images, one, Reference.of(arguments.reference), folder)
        distances = filtering_protocol.distances(found, judged, real, f"distances {one.name}")
        distances.write(arguments.out)
        for scope in filtering_protocol.SCOPES:
            filtering_protocol.gains(distances, scope, f"gains {scope} {one.name}").write(arguments.out)
        qualities |= {f"{quality} ({one.name})": values for quality, values in judged.qualities.items()}
    if qualities:
        _write_filtering(arguments, found, qualities)
    _show_filtering(arguments, found)
    _finish(arguments, seconds(folder))


def _write_filtering(arguments: argparse.Namespace, found: filtering_protocol.Scored, qualities: dict[str, Tensor]) -> None:
    correlations = filtering_protocol.correlations(found, qualities, "rank correlations")
    gains = filtering_protocol.best_of(found, qualities, "best of k")
    tables = [correlations, gains]
    cell = ("rank correlation", "95 % interval")
    tables.append(correlations.pivot("rank correlations within prompt", "method", "quality", cell, over="within prompt"))
    cell = ("share of the possible gain", "95 % interval")
    tables += [gains.pivot(f"best of {k}", "method", "quality", cell, k=k) for k in filtering_protocol.KS]
    for table in tables:
        table.write(arguments.out)
    figures.best_of(gains, arguments.out / "best of k.png")


def _show_filtering(arguments: argparse.Namespace, found: filtering_protocol.Scored) -> None:
    """Sheets of the best and worst images by every method."""
    every = torch.zeros_like(found.prompts)
    for scope, prompts, count in (("of each prompt", found.prompts, 1), ("of all images", every, SHOWN)):
        rows = []
        for method, badness in found.badness.items():
            for end, chosen in zip(("best", "worst"), filtering_protocol.extremes(badness, prompts, SHOWN, count), strict=True):
                rows.append((f"{method}: {end} {scope}", [found.images[i].path for i in chosen]))
        figures.sheet(rows, arguments.out / f"best and worst {scope}.jpg", 64)


def run_reconstruction(arguments: argparse.Namespace) -> None:
    """Protocol 2."""
    workflow = _workflow(arguments)
    reference = Reference.of(arguments.reference)
    folder = arguments.out / "drawn"
    jobs = []
    for number, (path, caption) in enumerate(zip(reference.paths, reference.captions, strict=True)):
        noised = reconstruction_protocol.noised(workflow, f"{UPLOADED}/{path.stem}.png", arguments.count)
        drawn = noised.drawing(caption, arguments.seed + number)
        jobs.append(Job(number, caption, arguments.seed + number, drawn.saving(maps=True)))

    def engine() -> Engine:
        working: Engine = arguments.engine()
        for path in reference.paths:
            working.upload(f"{path.stem}.png", reconstruction_protocol.as_png(path), UPLOADED)
        return working

    images = collect(engine, Listed(jobs), folder)
    found = reconstruction_protocol.measure(images, reference, folder)
    reconstruction_protocol.summary(found, "sparsification").write(arguments.out)
    figures.sparsification(found, arguments.out / "sparsification.png")
    figures.examples(images, reference, folder, arguments.out / "examples.png")
    _finish(arguments, seconds(folder))


def run_guidance(arguments: argparse.Namespace) -> None:
    """Protocol 3."""
    workflow = _workflow(arguments)
    seen, reference = _extractors(arguments), Reference.of(arguments.reference)
    size = arguments.batch or workflow.batch_size()
    arms = guidance_protocol.arms(workflow)
    images: dict[str, list[ImageRecord]] = {}
    took = []
    for each in arms:
        folder = arguments.out / each.name
        images[each.name] = collect(arguments.engine, _plan(arguments, each.workflow), folder)
        took += seconds(folder)
    for one in seen:
        judged: dict[str, Judged] = {}
        for each in arms:
            judged[each.name], real = judge(images[each.name], one, reference, arguments.out / each.name)
        guidance_protocol.compared(arms, images, judged, real, f"guidance {one.name}").write(arguments.out)
    rows = [(each.name, [image.path for image in images[each.name][::size][:SHOWN]]) for each in arms]
    figures.sheet(rows, arguments.out / "sheet.jpg", 64)
    _finish(arguments, took)


def run_course(arguments: argparse.Namespace) -> None:
    """Protocol 4."""
    workflow = _workflow(arguments)
    # A flow model has no image at its first level.
    workflow = workflow.sampling(strength=0.0, window_start=1 / workflow.steps(), window_end=1.0)
    folder = arguments.out / "drawn"
    plan = _plan(arguments, workflow, maps=True)
    images = collect(arguments.engine, plan, folder)
    found = course_protocol.Course.of(load_map(folder / map_of(number)) for number in range(len(plan)))
    table = course_protocol.course(found, "course")
    table.write(arguments.out)
    figures.course(table, arguments.out / "course.png")
    qualities = reward(images, arguments.reward)
    for one in _extractors(arguments):
        judged, _ = judge(images, one, Reference.of(arguments.reference), folder)
        qualities |= {f"{quality} ({one.name})": values for quality, values in judged.qualities.items()}
    if qualities:
        _write_ranking(arguments, found, prompt_numbers(images), qualities)
    _finish(arguments, seconds(folder))


def _write_ranking(
    arguments: argparse.Namespace, found: course_protocol.Course, prompts: Tensor, qualities: dict[str, Tensor]
) -> None:
    parts = [rows for part in course_protocol.PARTS if (rows := found.within(part))]
    by_part = course_protocol.ranking(found, prompts, qualities, parts, "ranking by part")
    by_step = course_protocol.ranking(found, prompts, qualities, [[row] for row in range(len(found.steps))], "ranking by step")
    tables: list[Table] = [by_part, by_step]
    cell = ("rank correlation", "95 % interval")
    tables += [by_part.pivot(f"ranking by part {q}", "steps", "quantity", cell, quality=q) for q in qualities]
    for table in tables:
        table.write(arguments.out)
    figures.ranking(by_step, arguments.out / "ranking by step.png")


def _workflow(arguments: argparse.Namespace) -> Workflow:
    """What draws; what is missing is said before hours of work."""
    figures.check_library()
    check_library()
    return Workflow.read(arguments.workflow)


def _plan(arguments: argparse.Namespace, workflow: Workflow, *, maps: bool = False) -> Plan:
    """At least ``--count`` images: every prompt once, then again, each job with a seed of its own."""
    size = arguments.batch or workflow.batch_size()
    prompts = read_prompts(arguments.prompts) if arguments.prompts else [workflow.prompt()]
    jobs = jobs_for(arguments.count, size)
    return Plan(workflow, prompts, arguments.seed, jobs, size, maps=maps, every_seed_once=True)


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
