"""The four protocols from start to end: generate images, judge them, and write tables and figures."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from uncertainty.metrics.distances import check_libraries
from uncertainty.metrics.features import Extractor, extractor
from uncertainty.storage.records import ImageRecord
from uncertainty.storage.tensor_files import load_map

from ..drawing import Engine, collect
from ..engine_options import describing
from ..graph_file import read_graph
from ..plan import Job, Listed, Plan, jobs_for, read_prompts
from ..rows import check_library
from ..run_folder import map_of, seconds
from ..terminal import say
from ..workflow import Workflow
from . import course_protocol, figures, filtering_protocol, guidance_protocol, reconstruction_protocol
from .evaluate_command import DEFAULT_FEATURES
from .judges import Judged, Reference, judge, prompt_numbers, reward
from .report import Table, file_name

# Images of a row of a contact sheet.
SHOWN = 20
UPLOADED = "uncertainty-evaluation"

MakeEngine = Callable[[], Engine]


def run_filtering(arguments: argparse.Namespace, engine: MakeEngine) -> None:
    """Protocol 1."""
    workflow = _workflow(arguments, engine).sampling(strength=0.0)
    if arguments.baselines:
        workflow = workflow.measuring(**dict.fromkeys(arguments.baselines, True))
    extractors = _extractors(arguments)
    if extractors:
        check_libraries()
    folder = arguments.out / "drawn"
    images = collect(engine, _plan(arguments, workflow), folder)
    scored = filtering_protocol.scored(images)
    filtering_protocol.scores(scored, "scores").write(arguments.out)
    qualities = reward(images, arguments.reward)
    for each in extractors:
        judged, real = judge(images, each, Reference.of(arguments.reference), folder)
        distances = filtering_protocol.distances(scored, judged, real, f"distances {each.name}")
        distances.write(arguments.out)
        for scope in filtering_protocol.SCOPES:
            filtering_protocol.gains(distances, scope, f"gains {scope} {each.name}").write(arguments.out)
        qualities |= _named_after(each, judged)
    if qualities:
        _write_filtering(arguments.out, scored, qualities)
    _show_filtering(arguments.out, scored)
    _finish(arguments, seconds(folder))


def _write_filtering(folder: Path, scored: filtering_protocol.Scored, qualities: Mapping[str, Tensor]) -> None:
    correlations = filtering_protocol.correlations(scored, qualities, "rank correlations")
    gains = filtering_protocol.best_of(scored, qualities, "best of k")
    tables = [correlations, gains]
    cell = ("rank correlation", "95 % interval")
    tables.append(correlations.pivot("rank correlations within prompt", "method", "quality", cell, over="within prompt"))
    cell = ("share of the possible gain", "95 % interval")
    tables += [gains.pivot(f"best of {k}", "method", "quality", cell, k=k) for k in filtering_protocol.KS]
    for table in tables:
        table.write(folder)
    figures.best_of(gains, folder / "best of k.png")


def _show_filtering(folder: Path, scored: filtering_protocol.Scored) -> None:
    """Contact sheets of the best and worst images by every method."""
    one_group = torch.zeros_like(scored.prompts)
    for scope, groups, count in (("of each prompt", scored.prompts, 1), ("of all images", one_group, SHOWN)):
        rows = []
        for method, badness in scored.badness.items():
            for end, chosen in zip(("best", "worst"), filtering_protocol.extremes(badness, groups, SHOWN, count), strict=True):
                rows.append((f"{method}: {end} {scope}", [scored.images[i].path for i in chosen]))
        figures.sheet(rows, folder / f"best and worst {scope}.jpg", 64)


def run_reconstruction(arguments: argparse.Namespace, engine: MakeEngine) -> None:
    """Protocol 2."""
    workflow = _workflow(arguments, engine)
    reference = Reference.of(arguments.reference)
    folder = arguments.out / "drawn"

    def with_pictures() -> Engine:
        working = engine()
        for path in reference.paths:
            working.upload(_uploaded_name(path), reconstruction_protocol.as_png(path), UPLOADED)
        return working

    images = collect(with_pictures, _reconstructions(arguments, workflow, reference), folder)
    measured = reconstruction_protocol.measure(images, reference, folder)
    reconstruction_protocol.summary(measured, "sparsification").write(arguments.out)
    figures.sparsification(measured, arguments.out / "sparsification.png")
    figures.examples(images, reference, folder, arguments.out / "examples.png")
    _finish(arguments, seconds(folder))


def _reconstructions(arguments: argparse.Namespace, workflow: Workflow, reference: Reference) -> Listed:
    """A job for each picture."""
    jobs = []
    for number, (path, caption) in enumerate(zip(reference.paths, reference.captions, strict=True)):
        noised = reconstruction_protocol.noised(workflow, f"{UPLOADED}/{_uploaded_name(path)}", arguments.count)
        seed = arguments.seed + number
        jobs.append(Job(number, caption, seed, noised.drawing(caption, seed).saving(maps=True), arguments.count))
    return Listed(jobs)


def _uploaded_name(picture: Path) -> str:
    return f"{picture.name}.png"  # the whole name, because there may also be one with another suffix


def run_guidance(arguments: argparse.Namespace, engine: MakeEngine) -> None:
    """Protocol 3."""
    workflow = _workflow(arguments, engine)
    extractors, reference = _extractors(arguments), Reference.of(arguments.reference)
    size = arguments.batch or workflow.batch_size()
    arms = guidance_protocol.arms(workflow)
    images: dict[str, list[ImageRecord]] = {}
    took: list[float] = []
    for arm in arms:
        folder = arguments.out / arm.name
        images[arm.name] = collect(engine, _plan(arguments, arm.workflow), folder)
        took += seconds(folder)
    for each in extractors:
        judged: dict[str, Judged] = {}
        for arm in arms:
            judged[arm.name], real = judge(images[arm.name], each, reference, arguments.out / arm.name)
        guidance_protocol.compared(arms, images, judged, real, f"guidance {each.name}").write(arguments.out)
    rows = [(arm.name, [image.path for image in images[arm.name][::size][:SHOWN]]) for arm in arms]
    figures.sheet(rows, arguments.out / "sheet.jpg", 64)
    _finish(arguments, took)


def run_course(arguments: argparse.Namespace, engine: MakeEngine) -> None:
    """Protocol 4."""
    workflow = _workflow(arguments, engine)
    # Every step but the first, at which a flow model has no image yet.
    workflow = workflow.sampling(strength=0.0, window_start=1 / workflow.steps(), window_end=1.0)
    folder = arguments.out / "drawn"
    plan = _plan(arguments, workflow, maps=True)
    images = collect(engine, plan, folder)
    course = course_protocol.Course.of(load_map(folder / map_of(number)) for number in range(len(plan)))
    table = course_protocol.course(course, "course")
    table.write(arguments.out)
    figures.course(table, arguments.out / "course.png")
    qualities = reward(images, arguments.reward)
    for each in _extractors(arguments):
        judged, _ = judge(images, each, Reference.of(arguments.reference), folder)
        qualities |= _named_after(each, judged)
    if qualities:
        _write_ranking(arguments.out, course, prompt_numbers(images), qualities)
    _finish(arguments, seconds(folder))


def _write_ranking(folder: Path, course: course_protocol.Course, prompts: Tensor, qualities: Mapping[str, Tensor]) -> None:
    parts = [rows for part in course_protocol.PARTS if (rows := course.within(part))]
    by_part = course_protocol.ranking(course, prompts, qualities, parts, "ranking by part")
    by_step = course_protocol.ranking(course, prompts, qualities, [[row] for row in range(len(course.steps))], "ranking by step")
    tables: list[Table] = [by_part, by_step]
    cell = ("rank correlation", "95 % interval")
    tables += [by_part.pivot(f"ranking by part {q}", "steps", "quantity", cell, quality=q) for q in qualities]
    for table in tables:
        table.write(folder)
    figures.ranking(by_step, folder / "ranking by step.png")


# By the name on the command line.
RUN: dict[str, Callable[[argparse.Namespace, MakeEngine], None]] = {
    "filtering": run_filtering,
    "reconstruction": run_reconstruction,
    "guidance": run_guidance,
    "course": run_course,
}


def _workflow(arguments: argparse.Namespace, engine: MakeEngine) -> Workflow:
    """The workflow; before it, missing packages and pictures are reported, rather than after hours of work."""
    figures.check_library()
    check_library()
    if arguments.reference is not None:
        Reference.of(arguments.reference)
    return Workflow.read(arguments.workflow, describing(engine))


def _plan(arguments: argparse.Namespace, workflow: Workflow, *, maps: bool = False) -> Plan:
    """At least ``--count`` images: the prompts in turn, each job with a seed of its own."""
    size = arguments.batch or workflow.batch_size()
    prompts = read_prompts(arguments.prompts) if arguments.prompts else None
    jobs = jobs_for(arguments.count, size)
    return Plan(workflow, prompts, arguments.seed, jobs, size, maps=maps, every_seed_once=True)


def _extractors(arguments: argparse.Namespace) -> list[Extractor]:
    """The networks that compare images with real pictures; none without pictures."""
    if arguments.reference is None:
        return []
    extractors = [extractor(spec) for spec in arguments.features or [DEFAULT_FEATURES]]
    names = [file_name(each.name, "") for each in extractors]
    for each, name in zip(extractors, names, strict=True):
        if names.count(name) > 1:
            raise ValueError(f"features: several networks write tables named {name!r}: leave {each.name} out, or rename it.")
    return extractors


def _named_after(seen_by: Extractor, judged: Judged) -> dict[str, Tensor]:
    """Quality measures (N,) under names that tell which network gave them."""
    return {f"{quality} ({seen_by.name})": values for quality, values in judged.qualities.items()}


def _finish(arguments: argparse.Namespace, seconds: Sequence[float]) -> None:
    """Write the settings of the evaluation beside its results, and print where they are."""
    about = {"count": arguments.count, "seed": arguments.seed, "drawing_seconds": round(sum(seconds))}
    about |= {"workflow": read_graph(arguments.workflow)}
    (arguments.out / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    say(f"results: {arguments.out}")
