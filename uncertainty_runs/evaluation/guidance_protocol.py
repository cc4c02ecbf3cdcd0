"""Protocol 3, the paper's Table 3: are guided images better, which way, where, and is it the gradient that does it?

The same prompts and seeds are drawn with and without guidance: strength λ of both signs, early, middle and late in the
schedule, several percentiles, both sides of the mask, both gradients. Control arms tell what the gradient itself does: a random
direction of the same norm, the same gradient on a random mask, no mask (percentile 0). Others spend the same evaluations on more
steps, or take ComfyUI's own PAG and SAG. Differences are paired by image; intervals resample whole prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uncertainty.metrics.distances import frechet_distance, principal
from uncertainty.metrics.intervals import around, clusters, mean_interval, resampled
from uncertainty.storage.records import ImageRecord
from uncertainty.window import Window

from ..workflow import Workflow
from .filtering_protocol import DIMENSIONS, RESAMPLES
from .judges import Judged, pixels, prompt_numbers
from .report import Cell, Table, between

BASE = "no guidance"
WINDOWS = {"early": (0.1, 0.18), "middle": (0.5, 0.58), "late": (0.9, 0.98)}
STRENGTHS = (-10.0, -1.0, 1.0, 10.0)
STRONGER = (-100.0, 100.0)  # late, where less is hardly seen
PERCENTILES = (0.0, 90.0, 99.0)

# An exactly guided step costs M passes, as many again that are differentiated, and the backward passes, about two passes each.
PASSES_A_PROBE = 4


@dataclass(frozen=True)
class Arm:
    """One way to draw: its name, and what the table says of it (window, strength, percentile, and what is special)."""

    name: str
    workflow: Workflow
    window: str = "–"
    strength: float = 0.0
    percentile: float = 95.0
    special: str = ""


def arms(workflow: Workflow) -> list[Arm]:
    """Every arm, the unguided one first."""
    plain = workflow.sampling(strength=0.0)
    found = [Arm(BASE, plain)]

    def add(window: str, strength: float, percentile: float = 95.0, special: str = "", **options: Any) -> None:
        start, end = WINDOWS[window]
        changed = workflow.sampling(strength=strength, percentile=percentile, window_start=start, window_end=end)
        control = options.pop("control", None)
        if control:
            changed = changed.measuring(control=control)
        if options:
            changed = changed.with_options(**options)
        name = f"{window} {strength:+g} p{percentile:g} {special}".strip()
        found.append(Arm(name, changed, window, strength, percentile, special))

    for window in WINDOWS:
        for strength in STRENGTHS:
            add(window, strength)
    for strength in STRONGER:
        add("late", strength)
    for window, strength in (("middle", 10.0), ("late", 1.0)):
        for percentile in PERCENTILES:
            add(window, strength, percentile)
    for window, strength in (("early", 1.0), ("middle", 10.0), ("late", 10.0)):
        for control in ("random_direction", "random_mask"):
            add(window, strength, special=control.replace("_", " "), control=control)
    for strength in (-10.0, 10.0):
        add("middle", strength, 5.0, "below it", mask_side="low")
    add("middle", 10.0, special="forward-only", gradient="forward_only")
    add("late", 10.0, special="forward-only", gradient="forward_only")
    samples, steps = int(workflow.inputs["samples"]), workflow.steps()
    more = steps + PASSES_A_PROBE * samples * len(Window(*WINDOWS["late"]).steps(steps))
    found.append(Arm(f"{more} steps", plain.with_steps(more), special="as many evaluations"))
    pag = plain.through("PerturbedAttentionGuidance", scale=3.0)
    found.append(Arm("PAG", pag, special="ComfyUI's PAG, scale 3"))
    sag = plain.through("SelfAttentionGuidance", scale=0.5, blur_sigma=2.0)
    found.append(Arm("SAG", sag, special="ComfyUI's SAG, scale 0.5"))
    return found


def change(images: Sequence[ImageRecord], base: Sequence[ImageRecord]) -> Tensor:
    """Root mean square difference (N,) of the pixels, 0 to 1, of images to those of the unguided arm."""
    pairs = zip(images, base, strict=True)
    return torch.tensor([float((pixels(image.path) - pixels(other.path)).square().mean().sqrt()) for image, other in pairs])


def compared(
    found: Sequence[Arm],
    images: Mapping[str, Sequence[ImageRecord]],
    judged: Mapping[str, Judged],
    real: Tensor,
    name: str,
    seed: int = 0,
) -> Table:
    """Every arm against the unguided one: pixels changed, Fréchet distance, and mean paired difference of each quality measure.

    Args:
        found: the arms.
        images: by arm.
        judged: by arm.
        real: embedding of the real pictures, (R, D).
        name: of the table.
        seed: of resampling.
    """
    project = principal(real, min(DIMENSIONS, real.shape[1], len(real) - 1))
    reference = project(real)
    base, plain = judged[BASE], project(judged[BASE].embedding)
    prompts = clusters(prompt_numbers(images[BASE]))
    embeddings = [project(judged[arm.name].embedding) for arm in found]

    def farther(rows: Tensor) -> list[float]:
        before = frechet_distance(reference, plain[rows])
        return [frechet_distance(reference, embedding[rows]) - before for embedding in embeddings]

    everything = farther(torch.arange(len(plain)))
    spread = torch.tensor([farther(rows) for rows in resampled(prompts, RESAMPLES, seed)])
    rows: list[tuple[Cell, ...]] = []
    for column, arm in enumerate(found):
        cells: list[Cell] = [arm.window, arm.strength, arm.percentile, arm.special or "–"]
        cells += [float(change(images[arm.name], images[BASE]).mean()), frechet_distance(reference, embeddings[column])]
        if arm.name == BASE:
            cells += ["–"] * (2 + 2 * len(base.qualities))
        else:
            change_of_it = around(everything[column], spread[:, column])
            cells += [change_of_it.value, between(change_of_it.low, change_of_it.high)]
            for quality, values in base.qualities.items():
                paired = mean_interval(judged[arm.name].qualities[quality] - values, prompts, resamples=RESAMPLES, seed=seed)
                cells += [paired.value, between(paired.low, paired.high)]
        rows.append(tuple(cells))
    head = ["window", "λ", "percentile", "special", "pixels changed", "Fréchet distance", "change of it", "95 %"]
    for quality in base.qualities:
        head += [f"{quality}, change", "95 %"]
    return Table(name, tuple(head), rows)
