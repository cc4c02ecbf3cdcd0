"""Protocol 3, the paper's Table 3: are guided images better, in which direction, where, and is it because of the gradient?

The same prompts and seeds are sampled with and without guidance: strength λ of both signs, early, middle and late in the
schedule, several percentiles, both sides of the mask, both gradients. Control arms separate the effect of the gradient: a random
direction of the same norm, the same gradient on a random mask, no mask (percentile 0). Other arms spend the same number of model
calls on more steps, or use ComfyUI's own PAG and SAG. Differences are paired by image; intervals resample whole prompts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uncertainty.metrics.distances import frechet_distance, principal
from uncertainty.metrics.intervals import Interval, around, clusters, mean_interval, resampled
from uncertainty.storage.records import ImageRecord
from uncertainty.window import Window

from ..workflow import Workflow
from .filtering_protocol import DIMENSIONS, RESAMPLES
from .judges import Judged, pixels, prompt_numbers
from .report import Cell, Table, between

BASE = "no guidance"
WINDOWS = {"early": (0.1, 0.18), "middle": (0.5, 0.58), "late": (0.9, 0.98)}
STRENGTHS = (-10.0, -1.0, 1.0, 10.0)
STRONGER = (-100.0, 100.0)  # late, where lower strengths change little
PERCENTILES = (0.0, 90.0, 99.0)
CONTROLS = ("random_direction", "random_mask")

# Model patches of ComfyUI, by the name of their arm.
PATCHES = {"PAG": "PerturbedAttentionGuidance", "SAG": "SelfAttentionGuidance"}

# A step with an exact gradient costs M model calls, M more that are differentiated, and their backward pass, about 2 M calls.
CALLS_PER_PROBE = 4


@dataclass(frozen=True)
class Arm:
    """One way to sample: its name, and what the table says of it (window, strength, percentile, what is special)."""

    name: str
    workflow: Workflow
    window: str = "–"
    strength: float = 0.0
    percentile: float = 95.0
    special: str = ""


def arms(workflow: Workflow) -> list[Arm]:
    """Every arm, the unguided one first."""
    plain = workflow.sampling(strength=0.0)
    return [Arm(BASE, plain), *_guided(workflow), _more_steps(plain), *_patched(plain)]


def _guided(workflow: Workflow) -> Iterator[Arm]:
    """Arms guided by uncertainty, and their control arms."""

    def arm(window: str, strength: float, percentile: float = 95.0, special: str = "", **options: Any) -> Arm:
        start, end = WINDOWS[window]
        changed = workflow.sampling(strength=strength, percentile=percentile, window_start=start, window_end=end)
        control = options.pop("control", None)
        if control:
            changed = changed.measuring(control=control)
        if options:
            changed = changed.with_options(**options)
        name = f"{window} {strength:+g} p{percentile:g} {special}".strip()
        return Arm(name, changed, window, strength, percentile, special)

    for window in WINDOWS:
        for strength in STRENGTHS:
            yield arm(window, strength)
    for strength in STRONGER:
        yield arm("late", strength)
    for window, strength in (("middle", 10.0), ("late", 1.0)):
        for percentile in PERCENTILES:
            yield arm(window, strength, percentile)
    for window, strength in (("early", 1.0), ("middle", 10.0), ("late", 10.0)):
        for control in CONTROLS:
            yield arm(window, strength, special=control.replace("_", " "), control=control)
    for strength in (-10.0, 10.0):
        yield arm("middle", strength, 5.0, "below it", mask_side="low")
    for window in ("middle", "late"):
        yield arm(window, 10.0, special="forward-only", gradient="forward_only")


def _more_steps(plain: Workflow) -> Arm:
    """As many model calls as exact guidance late in the schedule, spent on more steps."""
    samples, steps = int(plain.inputs["samples"]), plain.steps()
    more = steps + CALLS_PER_PROBE * samples * len(Window(*WINDOWS["late"]).steps(steps))
    return Arm(f"{more} steps", plain.with_steps(more), special="as many evaluations")


def _patched(plain: Workflow) -> Iterator[Arm]:
    """ComfyUI's own guidances with their default settings."""
    for name, class_type in PATCHES.items():
        scale = plain.describe(class_type).defaults()["scale"]
        yield Arm(name, plain.through(class_type), special=f"ComfyUI's {name}, scale {scale:g}")


def change(images: Sequence[ImageRecord], base: Sequence[ImageRecord]) -> Tensor:
    """Root mean square difference (N,), in pixel values 0 to 1, of images from those of the unguided arm."""
    pairs = zip(images, base, strict=True)
    return torch.tensor([float((pixels(image.path) - pixels(other.path)).square().mean().sqrt()) for image, other in pairs])


def compared(
    arms: Sequence[Arm],
    images: Mapping[str, Sequence[ImageRecord]],
    judged: Mapping[str, Judged],
    real: Tensor,
    name: str,
    seed: int = 0,
) -> Table:
    """Every arm against the unguided one: pixels changed, Fréchet distance, and mean paired difference of each quality measure.

    Args:
        arms: all arms.
        images: by arm.
        judged: by arm.
        real: embedding of the real pictures, (R, D).
        name: of the table.
        seed: of resampling.
    """
    base, prompts = judged[BASE], clusters(prompt_numbers(images[BASE]))
    head = ["window", "λ", "percentile", "special", "pixels changed", "Fréchet distance", "change of it", "95 %"]
    for quality in base.qualities:
        head += [f"{quality}, change", "95 %"]
    rows: list[tuple[Cell, ...]] = []
    distances = _distances([judged[arm.name].embedding for arm in arms], base.embedding, real, prompts, seed)
    for arm, (distance, difference) in zip(arms, distances, strict=True):
        cells: list[Cell] = [arm.window, arm.strength, arm.percentile, arm.special or "–"]
        cells += [float(change(images[arm.name], images[BASE]).mean()), distance]
        if arm.name == BASE:
            cells += ["–"] * (len(head) - len(cells))
        else:
            cells += _cells(difference)
            for quality, values in base.qualities.items():
                paired = judged[arm.name].qualities[quality] - values
                cells += _cells(mean_interval(paired, prompts, resamples=RESAMPLES, seed=seed))
        rows.append(tuple(cells))
    return Table(name, tuple(head), rows)


def _distances(
    embeddings: Sequence[Tensor], base: Tensor, real: Tensor, prompts: Tensor, seed: int
) -> list[tuple[float, Interval]]:
    """Fréchet distance of each embedding (N, D) to the real pictures, and by how much it exceeds that of the unguided arm."""
    project = principal(real, min(DIMENSIONS, real.shape[1], len(real) - 1))
    reference, plain, projected = project(real), project(base), [project(embedding) for embedding in embeddings]

    def differences(rows: Tensor) -> list[float]:
        unguided = frechet_distance(reference, plain[rows])
        return [frechet_distance(reference, embedding[rows]) - unguided for embedding in projected]

    everything = differences(torch.arange(len(plain)))
    spread = torch.tensor([differences(rows) for rows in resampled(prompts, RESAMPLES, seed)])
    return [
        (frechet_distance(reference, embedding), around(everything[column], spread[:, column]))
        for column, embedding in enumerate(projected)
    ]


def _cells(interval: Interval) -> list[Cell]:
    return [interval.value, between(interval.low, interval.high)]
