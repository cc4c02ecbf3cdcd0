"""Protocol 1, the paper's Table 1: does dropping the images of worst score leave better ones?

N images are drawn and scored by every method. A method then drops a sixth of them, at either end of its scores, over all images
or within each prompt (busy subjects score higher than plain ones). What is left is compared with the real pictures by
distributions, and with random subsets of the same size. Beside that, what artists do: keep the best of k images of one prompt.
Intervals resample whole prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from statistics import mean

import torch
from torch import Tensor

from uncertainty.metrics.distances import frechet_distance, kernel_distance, precision_recall, principal
from uncertainty.metrics.intervals import Interval, around, bootstrap, clusters, resampled
from uncertainty.metrics.ranking import best_of_k, spearman, within_groups
from uncertainty.scores import SCORES
from uncertainty.storage.records import ImageRecord

from .judges import Judged, pixels, prompt_numbers, total_variation
from .report import Cell, Table, between

DROPPED = 1 / 6
RESAMPLES = 300
RANDOM_SUBSETS = 200
RANDOM_EACH = 4  # in each resample
DIMENSIONS = 128
KS = (2, 4, 8, 16)
RANDOM = "random"
WITHIN = "within prompt"
SCOPES = ("all images", WITHIN)

# Not a method of anyone's: what a score must beat that only sees how busy an image is.
BUSY = "total_variation"


@dataclass(frozen=True)
class Scored:
    """Images with the badness (N,) each method sees in them, high is bad, and the number of their prompt (N,)."""

    images: Sequence[ImageRecord]
    badness: Mapping[str, Tensor]
    prompts: Tensor


def scored(images: Sequence[ImageRecord]) -> Scored:
    """Line up the scores: those of this pack first, then extra scores.

    Raises:
        ValueError: a method judged only some of the images.
    """
    ours = [{name: (value, SCORES[name].high_is_sure) for name, (value, _) in image.scores.items()} for image in images]
    known = [{**own, **image.extra_scores} for own, image in zip(ours, images, strict=True)]
    named = {name for scores in known for name in scores}
    badness = {}
    for method in [*(name for name in SCORES if name in named), *sorted(named - set(SCORES))]:
        having = [scores[method] for scores in known if method in scores]
        if len(having) < len(known):
            raise ValueError(
                f"{method} judged {len(having)} of {len(known)} images: the folder holds runs of different settings."
            )
        badness[method] = torch.tensor([-value if high_is_good else value for value, high_is_good in having])
    badness[BUSY] = torch.tensor([total_variation(pixels(image.path)) for image in images])
    return Scored(images, badness, prompt_numbers(images))


def scores(found: Scored, name: str) -> Table:
    """The badness of every image by every method, to calculate with: high is bad."""
    rows: list[tuple[Cell, ...]] = []
    for index, image in enumerate(found.images):
        values = [float(badness[index]) for badness in found.badness.values()]
        rows.append((image.path.name, image.prompt or "", image.seed or 0, image.place, *values))
    return Table(name, ("file", "prompt", "seed", "place", *found.badness), rows)


def kept(badness: Tensor, dropped: float = DROPPED) -> Tensor:
    """Indices of all but the worst ``dropped`` part, best first; ties keep their order."""
    return torch.sort(badness, stable=True).indices[: len(badness) - round(dropped * len(badness))]


def extremes(badness: Tensor, prompts: Tensor, groups: int, count: int) -> tuple[list[int], list[int]]:
    """Indices of the ``count`` best and worst images of up to so many groups, which are spread evenly over all prompts (N,)."""
    names = sorted(set(prompts.tolist()))
    groups = min(groups, len(names))
    best: list[int] = []
    worst: list[int] = []
    for number in range(groups):
        members = (prompts == names[len(names) * number // groups]).nonzero().flatten()
        order = members[torch.sort(badness[members], stable=True).indices].tolist()
        best += order[:count]
        worst += order[::-1][:count]
    return best, worst


def variants(found: Scored) -> dict[tuple[str, str, str], Tensor]:
    """Every way to drop, by method, scope and which end goes: badness (N,) to be dropped from the top."""
    ways = {}
    for method, badness in found.badness.items():
        for scope, values in zip(SCOPES, (badness, within_groups(badness, found.prompts)), strict=True):
            ways[method, scope, "worst"] = values
            ways[method, scope, "best"] = -values
    return ways


def distances(found: Scored, judged: Judged, real: Tensor, name: str, seed: int = 0) -> Table:
    """Distance of what each way to drop leaves to the real pictures, against random subsets of the same size and scope.

    Args:
        found: N images and their scores.
        judged: their embedding (N, D).
        real: embedding (R, D) of the real pictures.
        name: of the table.
        seed: of random subsets and resampling.
    """
    project = principal(real, min(DIMENSIONS, real.shape[1], len(real) - 1))
    images, reference = project(judged.embedding), project(real)
    generator = torch.Generator().manual_seed(seed)
    ways = variants(found)

    def distance(rows: Tensor) -> float:
        return frechet_distance(reference, images[rows])

    def random_subset(rows: Tensor, scope: str) -> Tensor:
        order = torch.rand(len(rows), generator=generator)
        return rows[kept(within_groups(order, found.prompts[rows]) if scope == WITHIN else order)]

    def gains_of(rows: Tensor) -> list[float]:
        random = {scope: mean(distance(random_subset(rows, scope)) for _ in range(RANDOM_EACH)) for scope in SCOPES}
        return [random[scope] - distance(rows[kept(badness[rows])]) for (_, scope, _), badness in ways.items()]

    def others(rows: Tensor) -> tuple[float, float, float]:
        return (kernel_distance(reference, images[rows]), *precision_recall(reference, images[rows]))

    everything = torch.arange(len(images))
    spread = torch.tensor([gains_of(rows) for rows in resampled(clusters(found.prompts), RESAMPLES, seed)])
    table: list[tuple[Cell, ...]] = []
    random = {}
    for scope in SCOPES:
        subsets = torch.tensor([distance(random_subset(everything, scope)) for _ in range(RANDOM_SUBSETS)]).double()
        low, high = torch.quantile(subsets, torch.tensor([0.025, 0.975]).double()).tolist()
        random[scope] = float(subsets.mean()), between(low, high)
        table.append((RANDOM, scope, "any", *random[scope], 0.0, "–", *others(random_subset(everything, scope))))
    for column, ((method, scope, end), badness) in enumerate(ways.items()):
        chosen = kept(badness)
        rest, (middle, range_) = distance(chosen), random[scope]
        gain = around(middle - rest, spread[:, column])
        interval = between(gain.low, gain.high)
        table.append((method, scope, end, rest, range_, gain.value, interval, *others(chosen)))
    head = (
        "method", "over", "dropped sixth", "Fréchet distance", "random subsets, 95 %", "gain over random", "gain, 95 % interval",
        "kernel distance", "precision", "recall",
    )  # fmt: skip
    return Table(name, head, table)


def gains(distances: Table, scope: str, name: str) -> Table:
    """What dropping either end gains over dropping at random, a row a method."""
    methods = Table(name, distances.head, [row for row in distances.rows if row[0] != RANDOM])
    return methods.pivot(name, "method", "dropped sixth", ("gain over random", "gain, 95 % interval"), over=scope)


def correlations(found: Scored, qualities: Mapping[str, Tensor], name: str, seed: int = 0) -> Table:
    """Rank correlation of badness with each quality measure, over all images and within prompts; one hopes for negative ones."""
    rows: list[tuple[Cell, ...]] = []
    for quality, values in qualities.items():
        for method, badness in found.badness.items():
            for scope, left, right in (
                ("all images", badness, values),
                ("within prompt", within_groups(badness, found.prompts), within_groups(values, found.prompts)),
            ):

                def statistic(rows: Tensor, left: Tensor = left, right: Tensor = right) -> float:
                    return spearman(left[rows], right[rows])

                interval = bootstrap(statistic, clusters(found.prompts), resamples=RESAMPLES, seed=seed)
                rows.append((quality, method, scope, interval.value, between(interval.low, interval.high)))
    return Table(name, ("quality", "method", "over", "rank correlation", "95 % interval"), rows)


def best_of(found: Scored, qualities: Mapping[str, Tensor], name: str, seed: int = 0) -> Table:
    """Quality of the best-scored of k images of a prompt: its gain over a random one as a share of what the best of k gains."""
    rows: list[tuple[Cell, ...]] = []
    fewest = int(torch.bincount(found.prompts).min())
    for quality, values in qualities.items():
        random = best_of_k(values, values, found.prompts, 1)
        for k in (k for k in KS if k <= fewest):
            possible = best_of_k(-values, values, found.prompts, k) - random
            for method, badness in found.badness.items():
                gained = best_of_k(badness, values, found.prompts, k) - random

                def share(rows: Tensor, gained: Tensor = gained, possible: Tensor = possible) -> float:
                    return float(gained[rows].sum() / possible[rows].sum())

                everything = torch.arange(len(gained))
                interval = (
                    bootstrap(share, everything, resamples=RESAMPLES, seed=seed)
                    if len(gained) > 1
                    else Interval(share(everything), nan, nan)  # one prompt says nothing of others
                )
                gain = (float(random.mean()), float((random + gained).mean()), float((random + possible).mean()))
                rows.append((quality, method, k, *gain, interval.value, between(interval.low, interval.high)))
    head = (
        "quality",
        "method",
        "k",
        "random one",
        "best-scored of k",
        "best of k",
        "share of the possible gain",
        "95 % interval",
    )
    return Table(name, head, rows)
