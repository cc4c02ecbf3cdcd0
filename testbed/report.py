"""How well every score chooses, by every judge: tables from the rows of ``judged.py``. ``python -m testbed.report choosing``.

Images are compared within a prompt and a setting. Settings are pooled by adding up what each prompt contributes, and intervals
resample prompts. See ``docs/evidence/protocol.md`` for what counts.
"""

import argparse
import csv
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import torch
from torch import Tensor

from uncertainty.metrics.ranking import best_of_k
from uncertainty.metrics.within_groups import Statistic, difference, holm, pooled, rank_correlation, roc_area, share_of_possible
from uncertainty.scores import SCORES
from uncertainty_runs.evaluation.report import Cell, Table, between, shown

from .prompts import HALVES, KINDS

WORK = Path(__file__).parent / ".train"
BUSY, NEAR = "total_variation", "nearness"
JUDGED = ("confidence", "likeness")
CHOICES = 4
# The scores under test, see docs/evidence/protocol.md.
CHOSEN = ("prompt_information", "denoising_loss@0.3", "drift")
# Early culling: the part of the schedule after which it measures, and how many images are started for one that is finished.
EARLY, STARTED = 0.3, 5
ENDPOINTS = ("ROC area", "share of best of 4")


@dataclass(frozen=True)
class Rows:
    """The images of one setting: the number of each image's prompt (N,), and columns of numbers (N,) by name."""

    prompts: Tensor
    columns: Mapping[str, Tensor]

    def badness(self, score: str) -> Tensor:
        """A score (N,), turned so that high is bad: ``NAME@PART`` of a probed quantity, or another name."""
        declared = SCORES.get(score.partition("@")[0])
        return -self.columns[score] if declared and declared.high_is_sure else self.columns[score]


def read(path: Path, kinds: Collection[str] = KINDS) -> Rows:
    """The rows of one setting, of prompts of these kinds."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["kind"] in kinds]
    numbers: dict[str, int] = {}
    prompts = [numbers.setdefault(line["text"], len(numbers)) for line in lines]
    named = [name for name in lines[0] if name.partition("@")[0] in SCORES or name.partition(" ")[0] in JUDGED]
    columns = {
        name: torch.tensor([float(line[name] or "nan") for line in lines], dtype=torch.float64) for name in (*named, BUSY, NEAR)
    }
    return Rows(torch.tensor(prompts), columns)


def scores(settings: Sequence[Rows]) -> list[str]:
    """The scores that all settings have, total variation last."""
    first, *others = ({name for name in rows.columns if name.partition("@")[0] in SCORES} for rows in settings)
    every = first.intersection(*others)
    return [*(name for name in settings[0].columns if name in every), BUSY]


def qualities(settings: Sequence[Rows], kind: str) -> list[str]:
    """What judges say of a kind, one of ``JUDGED``. Combined prompts alone have no likeness."""
    known = lambda name: all(not rows.columns[name].isnan().all() for rows in settings)  # noqa: E731
    return [name for name in settings[0].columns if name.partition(" ")[0] == kind and known(name)]


def over(settings: Sequence[Rows], quality: str, of: Callable[[Rows, Tensor], Statistic]) -> Statistic:
    """A statistic pooled over settings, from the images whose quality is known. ``of`` gets such rows and their quality."""
    kept = [_known(rows, quality) for rows in settings]
    return pooled([of(rows, rows.columns[quality]) for rows in kept])


def statistics(settings: Sequence[Rows], score: str, broken: float) -> dict[tuple[str, str], Statistic]:
    """All statistics of a score, by quality and name."""

    def area(rows: Rows, quality: Tensor) -> Statistic:
        return roc_area(rows.badness(score), quality < broken, rows.prompts)

    def share(rows: Rows, quality: Tensor) -> Statistic:
        return share_of_possible(rows.badness(score), quality, rows.prompts, CHOICES)

    def correlation(rows: Rows, quality: Tensor) -> Statistic:
        return rank_correlation(rows.badness(score), quality, rows.prompts)

    def partial(rows: Rows, quality: Tensor) -> Statistic:
        given = [rows.columns[name] for name in (BUSY, NEAR) if name != score]
        return rank_correlation(rows.badness(score), quality, rows.prompts, given)

    found = {}
    for kind in JUDGED:
        for quality in qualities(settings, kind):
            wanted = {"share of best of 4": share, "rank correlation": correlation, "given variation and nearness": partial}
            if kind == "confidence":
                wanted = {"ROC area": area, **wanted}
            found |= {(quality, name): over(settings, quality, of) for name, of in wanted.items()}
    return found


def table(settings: Sequence[Rows], broken: float) -> Table:
    """Every statistic of every score by every judge, with its interval."""
    lines: list[tuple[Cell, ...]] = []
    for score in scores(settings):
        for (quality, name), statistic in statistics(settings, score, broken).items():
            found = statistic.interval()
            lines.append((score, quality, name, found.value, between(found.low, found.high)))
    return Table("scores", ("score", "quality", "statistic", "value", "95 % interval"), lines)


def summary(every: Table) -> Table:
    """The endpoints of ``table``, a row a score."""
    ends = [row for row in every.rows if row[2] in ENDPOINTS]
    columns = list(dict.fromkeys((str(row[2]), str(row[1])) for row in ends))
    cells = {(row[0], (str(row[2]), str(row[1]))): f"{shown(row[3])} ({row[4]})" for row in ends}
    lines: list[tuple[Cell, ...]] = [
        (score, *[cells[score, column] for column in columns]) for score in dict.fromkeys(row[0] for row in ends)
    ]
    return Table("summary", ("score", *[f"{name}, {quality}" for name, quality in columns]), lines)


def comparisons(settings: Sequence[Rows], chosen: str, broken: float) -> Table:
    """Paired differences of one score to all others, with Holm's correction over the table's rows."""
    own = statistics(settings, chosen, broken)
    # By confidence only: Holm's correction counts every row.
    wanted = [key for key in own if key[1] in ENDPOINTS and key[0].startswith(JUDGED[0])]
    found = [
        (other, key, difference(own[key], against[key]))
        for other in scores(settings)
        if other != chosen
        for against in (statistics(settings, other, broken),)
        for key in wanted
    ]
    adjusted = holm([gap.p for _, _, gap in found])
    lines: list[tuple[Cell, ...]] = [
        (other, *key, gap.value, between(gap.low, gap.high), gap.p, p)
        for (other, key, gap), p in zip(found, adjusted, strict=True)
    ]
    head = ("against", "quality", "statistic", "difference", "95 % interval", "p", "p after Holm")
    return Table(f"{chosen.replace('@', ' at ')} against others", head, lines)


def by_setting(names: Sequence[str], settings: Sequence[Rows], chosen: Sequence[str], broken: float) -> Table:
    """ROC area and share of the best of 4 of chosen scores in each setting, by every judge."""
    lines: list[tuple[Cell, ...]] = []
    for name, rows in zip(names, settings, strict=True):
        for score in (*chosen, BUSY):
            for (quality, kind), statistic in statistics([rows], score, broken).items():
                if kind in ENDPOINTS:
                    found = statistic.interval()
                    lines.append((name, score, quality, kind, found.value, between(found.low, found.high)))
    return Table("settings", ("setting", "score", "quality", "statistic", "value", "95 % interval"), lines)


def early_culling(settings: Sequence[Rows]) -> Table:
    """Quality of the one image that is finished of several started, against the best of 4 finished ones, by every judge.

    ``STARTED`` images are measured at 30 % of the schedule, the best is finished. This takes 0.69 of the evaluations of four
    finished images with one measured step each at 20 steps, 0.61 at 50.
    """
    lines: list[tuple[Cell, ...]] = []
    for quality in [name for kind in JUDGED for name in qualities(settings, kind)]:

        def best(score: str, k: int, quality: str = quality) -> Statistic:
            return over(settings, quality, lambda rows, q: _mean(best_of_k(rows.badness(score), q, rows.prompts, k)))

        finished, random = best(CHOSEN[0], CHOICES), best(CHOSEN[0], 1)
        for score in (name for name in scores(settings) if name.endswith(f"@{EARLY:g}")):
            started = best(score, STARTED)
            gap = difference(started, finished)
            row = (score, quality, random.value, finished.value, started.value, gap.value, between(gap.low, gap.high))
            lines.append(row)
    head = ("early score", "quality", "random", "best of 4 finished", f"best of {STARTED} started", "difference", "95 % interval")
    return Table("early culling", head, lines)


def _mean(values: Tensor) -> Statistic:
    """The mean over groups of values (G,)."""
    return Statistic(torch.stack([values, torch.ones_like(values)], 1), lambda sums: sums[..., 0] / sums[..., 1])


def judges(settings: Sequence[Rows]) -> Table:
    """How far judges agree: rank correlation, and the share of one's best of 4 that choosing by another gains."""
    lines: list[tuple[Cell, ...]] = []
    every = [name for kind in JUDGED for name in qualities(settings, kind)] + [NEAR]
    for by, judged in permutations(every, 2):
        both = [_known(rows, by) for rows in settings]
        agreement = over(both, judged, lambda rows, quality, by=by: rank_correlation(rows.columns[by], quality, rows.prompts))
        gain = over(
            both, judged, lambda rows, quality, by=by: share_of_possible(-rows.columns[by], quality, rows.prompts, CHOICES)
        )
        cells = [cell for s in (agreement, gain) for cell in (s.value, between(*s.interval()[1:]))]
        lines.append((by, judged, *cells))
    head = ("chosen by", "judged by", "rank correlation", "its interval", "share of best of 4", "its interval ")
    return Table("judges", head, lines)


def _known(rows: Rows, quality: str) -> Rows:
    known = ~rows.columns[quality].isnan()
    return Rows(rows.prompts[known], {name: values[known] for name, values in rows.columns.items()})


def broken_shares(names: Sequence[str], settings: Sequence[Rows], broken: float) -> Table:
    """Share of broken images in each setting, by each judge, and of prompts with both broken and whole images."""
    confident = qualities(settings, "confidence")
    lines: list[tuple[Cell, ...]] = []
    for name, rows in zip(names, settings, strict=True):
        cells: list[Cell] = []
        for quality in confident:
            bad = (rows.columns[quality] < broken).double()
            shares = torch.stack([bad[rows.prompts == prompt].mean() for prompt in rows.prompts.unique()])
            cells += [float(bad.mean()), float(((shares > 0) & (shares < 1)).double().mean())]
        lines.append((name, *cells))
    head = [title for quality in confident for title in (f"broken, {quality}", f"prompts with both, {quality}")]
    return Table("broken", ("setting", *head), lines)


def main() -> None:
    """Write the tables of a half into ``report/HALF/NAME``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("half", choices=HALVES, help="which prompts")
    parser.add_argument("--broken", type=float, default=0.5, help="confidence below which an image is broken")
    parser.add_argument("--chosen", nargs="+", default=CHOSEN, help="the scores to compare with all others")
    parser.add_argument("--settings", default="*", help="names of settings to pool, as a file pattern: 'demo*'")
    parser.add_argument("--name", default="all", help="folder of the tables")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="only prompts of these kinds")
    arguments = parser.parse_args()
    paths = sorted((WORK / "rows" / arguments.half).glob(f"{arguments.settings}.csv"))
    if not paths:
        parser.error(f"no rows of {arguments.half} match {arguments.settings}: run testbed.draw and testbed.judged first.")
    settings, names = [read(path, arguments.kinds) for path in paths], [path.stem for path in paths]
    broken, folder = arguments.broken, WORK / "report" / arguments.half / arguments.name
    every = table(settings, broken)
    made = [broken_shares(names, settings, broken), every, summary(every)]
    made += [by_setting(names, settings, arguments.chosen, broken), early_culling(settings)]
    made += [*(comparisons(settings, score, broken) for score in arguments.chosen), judges(settings)]
    for one in made:
        one.write(folder)
        print(f"## {one.name}\n\n{one.markdown()}\n")


if __name__ == "__main__":
    main()
