"""Screening of guidance and repair on a model of the test bed: which arm is worth a confirming run?

``python -m dev.launcher -m testbed.screening --prompts FILE --reference FOLDER --out FOLDER`` samples every prompt with every arm
from the same noise, lets judges look at the images, and writes two tables: ``changes`` (paired differences from the unguided
images) and ``repair`` (how many broken images became good, and good ones broken). Intervals resample prompts.

One line of ``units.jsonl`` is one prompt with one arm. Started again, the command resumes there. Steps before an arm's first
change are those of the unguided run and are not computed again; ``evaluations`` counts them.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.samplers
import comfy.utils
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from demo import model as demo
from uncertainty.metrics.features import extractor
from uncertainty.metrics.intervals import mean_interval
from uncertainty.storage.records import ImageRecord
from uncertainty.window import Window
from uncertainty_runs.evaluation.guidance_protocol import change
from uncertainty_runs.evaluation.judges import Reference, judge, prompt_numbers
from uncertainty_runs.evaluation.report import Cell, Table, between
from uncertainty_runs.plan import read_prompts

from .steering import (
    GRADIENT_EVALUATIONS,
    SAMPLES,
    Guidance,
    MeasuredRegion,
    RandomRegion,
    Restart,
    SelfGuidance,
    Start,
    Steered,
    Steering,
    everything,
)

STEPS, CFG = 20, 3.0
WINDOWS = {"early": Window(0.1, 0.15), "middle": Window(0.5, 0.55), "late": Window(0.9, 0.95)}
SIZE = 1.0
PERCENTILE = 80.0
# The step at which a restart starts, and the step that it goes back to.
BACK = {"": (15, 9), "far": (12, 3)}
RESAMPLES = 4000
# A judge's confidence below which an image counts as broken.
BROKEN = 0.5
BASE = "no guidance"


@dataclass(frozen=True)
class Arm:
    """One way to sample.

    Attributes:
        name: of its row and folder.
        guidance: arguments of ``Guidance``.
        self_guidance: weight of SG-prev.
        restart: a restart in place of Euler's method.
        steps: steps of the schedule.
        other_noise: start from other noise than the other arms.
    """

    name: str
    guidance: dict[str, Any] | None = None
    self_guidance: float | None = None
    restart: Restart | None = None
    steps: int = STEPS
    other_noise: bool = False

    def steering(self) -> Steering | None:
        """A new steering for one run."""
        if self.guidance is not None:
            return Guidance(**self.guidance)
        return None if self.self_guidance is None else SelfGuidance(self.self_guidance)

    @property
    def same(self) -> int:
        """How many of the first calls are those of the unguided run."""
        if self.steps != STEPS or self.other_noise:
            return 0
        if self.restart is not None:
            return self.restart.low + 1
        steering = self.steering()
        return STEPS if steering is None else steering.first + 1


def arms() -> list[Arm]:
    """Every arm, the unguided one first."""
    return [Arm(BASE), Arm("other noise", other_noise=True), *_guided(), *_restarts()]


def _guided() -> Iterator[Arm]:
    guided = 0
    for window, part in WINDOWS.items():
        steps = part.steps(STEPS)
        guided = len(steps)
        for quantity in ("denoised_variance", "score_variance"):
            for name, size in (("descend", -SIZE), ("ascend", SIZE)):
                yield Arm(f"{window} {name} {quantity}", {"steps": steps, "quantity": quantity, "size": size})
        control = {"steps": steps, "quantity": "denoised_variance", "size": SIZE, "random": True}
        yield Arm(f"{window} random direction", control)
    more = STEPS + guided * SAMPLES * (1 + GRADIENT_EVALUATIONS)
    yield Arm(f"{more} steps", steps=more)
    for weight in (0.5, 1.0):
        yield Arm(f"SG-prev {weight:g}", self_guidance=weight)


def _restarts() -> Iterator[Arm]:
    regions = {
        "denoised_variance": MeasuredRegion("denoised_variance", PERCENTILE),
        "denoising_loss": MeasuredRegion("denoising_loss", PERCENTILE),
        "mask turned": MeasuredRegion("denoising_loss", 100 - PERCENTILE, "low"),
        "random region": RandomRegion(PERCENTILE),
        "everything": everything,
        "all but the region": MeasuredRegion("denoising_loss", PERCENTILE, "low"),
    }
    for far, (low, high) in BACK.items():
        for name, region in regions.items():
            yield Arm(f"restart {far} {name}".replace("  ", " "), restart=Restart(low, high, region))
        more = STEPS + low - high + 1 + SAMPLES
        yield Arm(f"{more} steps", steps=more)


class Sampling:
    """Samples prompts with arms.

    Args:
        weights: file of a model of the demo's architecture.
        family: one of ``demo.FAMILIES``.
        batch: images of a prompt.
        seed: seed of the first prompt; each further one adds 1.
    """

    def __init__(self, weights: Path, family: str, batch: int, seed: int) -> None:
        comfy.utils.set_progress_bar_enabled(False)
        self.model, self.clip, self.vae = demo.load(family, weights)
        self.batch, self.seed = batch, seed
        self.unguided: tuple[int, Start] = (-1, Start())

    def __call__(self, arm: Arm, number: int, prompt: str) -> tuple[Tensor, dict[str, Any]]:
        """Images (B, 3, H, W), 0 to 1, and what is noted of the run."""
        start = Start() if arm.name == BASE or not arm.same else self._start(number, prompt, arm.same)
        guider = self._guider(arm.steering(), start, prompt, number)
        images = self._sample(guider, arm, number)
        if arm.name == BASE:
            self.unguided = number, Start(guider.predicted)
        noted: dict[str, Any] = {"evaluations": guider.evaluations}
        if isinstance(guider.steering, Guidance):
            noted["gradient"] = [length.mean().item() for length in guider.steering.lengths]
        return images, noted

    def _start(self, number: int, prompt: str, calls: int) -> Start:
        """The first calls of the unguided run."""
        if self.unguided[0] != number:
            self(Arm(BASE), number, prompt)
        whole = self.unguided[1]
        return Start(whole.predicted[:calls], whole.computed)

    def _guider(self, steering: Steering | None, start: Start, prompt: str, number: int) -> Steered:
        positive, negative = (self.clip.encode_from_tokens_scheduled(self.clip.tokenize(text)) for text in (prompt, ""))
        return Steered(self.model, positive, negative, CFG, steering, start, self.seed + number)

    def _sample(self, guider: Steered, arm: Arm, number: int) -> Tensor:
        sigmas = comfy.samplers.calculate_sigmas(self.model.get_model_object("model_sampling"), "normal", arm.steps)
        sampler = arm.restart.sampler(guider) if arm.restart else comfy.samplers.sampler_object("euler")
        seed = 2 * (self.seed + number) + arm.other_noise
        latent = torch.zeros(self.batch, 3, 64, 64)
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            sampled = guider.sample(noise, latent, sampler, sigmas, disable_pbar=True, seed=seed)
            return self.vae.decode(sampled).movedim(-1, 1).clamp(0, 1).cpu()


def draw(sampling: Sampling, chosen: Sequence[Arm], prompts: Sequence[str], out: Path) -> None:
    """Sample what ``units.jsonl`` does not list yet."""
    units = out / "units.jsonl"
    done = {(unit["prompt"], unit["arm"]) for unit in _units(units)}
    for number, prompt in enumerate(prompts):
        for arm in chosen:
            if (prompt, arm.name) in done:
                continue
            began = time.monotonic()
            images, noted = sampling(arm, number, prompt)
            for place, image in enumerate(images):
                path = file_of(out, arm.name, number, place)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).save(path)
            line = {"prompt": prompt, "arm": arm.name, **noted, "seconds": round(time.monotonic() - began, 2)}
            with units.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        print(f"{number + 1} of {len(prompts)}: {prompt}", flush=True)


def _units(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def file_of(out: Path, arm: str, number: int, place: int) -> Path:
    """File of an image."""
    return out / "drawn" / arm / f"{number:03}-{place}.png"


def records(out: Path, arm: str, prompts: Sequence[str], batch: int) -> list[ImageRecord]:
    """The images of an arm, prompt by prompt."""
    return [
        ImageRecord({}, "", "", place, prompt=prompt, file=str(file_of(out, arm, number, place)), number=number)
        for number, prompt in enumerate(prompts)
        for place in range(batch)
    ]


def changes(images: dict[str, list[ImageRecord]], judged: dict[str, dict[str, Tensor]], units: Sequence[dict[str, Any]]) -> Table:
    """Paired differences of every quality measure from the unguided arm."""
    qualities = judged[BASE]
    head = ["arm", "evaluations", "pixels changed"]
    for quality in qualities:
        head += [f"{quality}, change", "95 %"]
    prompts, rows = prompt_numbers(images[BASE]), []
    for arm, values in judged.items():
        evaluations = [unit["evaluations"] for unit in units if unit["arm"] == arm]
        row: list[Cell] = [arm, sum(evaluations) // len(evaluations), float(change(images[arm], images[BASE]).mean())]
        for quality, base in qualities.items():
            if arm == BASE:
                row += [float(base.mean()), "its mean"]
                continue
            interval = mean_interval(values[quality] - base, prompts, resamples=RESAMPLES)
            row += [interval.value, between(interval.low, interval.high)]
        rows.append(tuple(row))
    return Table("changes", tuple(head), rows)


def repair(images: dict[str, list[ImageRecord]], judged: dict[str, dict[str, Tensor]], quality: str) -> Table:
    """The share of broken images that each arm makes good, and of good ones that it breaks, by a judge's confidence."""
    prompts, broken = prompt_numbers(images[BASE]), judged[BASE][quality] < BROKEN
    head = ("arm", "broken", f"mended ({quality})", "95 %", "good", "harmed", "95 %")
    rows: list[tuple[Cell, ...]] = []
    for arm, values in judged.items():
        now = values[quality] < BROKEN
        cells: list[Cell] = [arm]
        for before, after in ((broken, ~now), (~broken, now)):
            groups = prompts[before]
            cells.append(int(before.sum()))
            if len(set(groups.tolist())) < 2:
                cells += ["–", "–"]
                continue
            interval = mean_interval(after[before].float(), groups, resamples=RESAMPLES)
            cells += [interval.value, between(interval.low, interval.high)]
        rows.append(tuple(cells))
    return Table(f"repair {quality}", head, rows)


def look(out: Path, chosen: Sequence[Arm], prompts: Sequence[str], batch: int, features: Sequence[str], reference: Path) -> None:
    """Let the judges look at the prompts that every arm has finished, and write the tables."""
    units = _units(out / "units.jsonl")
    finished = {(unit["prompt"], unit["arm"]) for unit in units}
    whole = [all((prompt, arm.name) in finished for arm in chosen) for prompt in prompts]
    # Their numbers name the files, so they are the first ones.
    shown = list(prompts[: whole.index(False)] if False in whole else prompts)
    if not shown:
        print("no prompt is finished with every arm yet.")
        return
    images = {arm.name: records(out, arm.name, shown, batch) for arm in chosen}
    judged: dict[str, dict[str, Tensor]] = {arm.name: {} for arm in chosen}
    together = [image for arm in chosen for image in images[arm.name]]
    for spec in features:
        network = extractor(spec)
        found, _ = judge(together, network, Reference.of(reference), out)
        for quality, values in found.qualities.items():
            for arm, part in zip(chosen, values.chunk(len(chosen)), strict=True):
                judged[arm.name][f"{quality} ({network.name})"] = part
    tables = [changes(images, judged, units)]
    tables += [repair(images, judged, quality) for quality in judged[BASE] if quality.startswith("confidence")]
    for table in tables:
        table.write(out)
        print(f"{table.name}, {len(shown)} prompts of {batch} images\n{table.markdown()}\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=Path, default=demo.WEIGHTS, help="weights of the model (default: the demo model's)")
    parser.add_argument("--family", choices=demo.FAMILIES, default=demo.FAMILIES[0])
    parser.add_argument("--prompts", type=Path, required=True, help="one prompt per line")
    parser.add_argument("--reference", type=Path, required=True, help="real pictures with captions, as for evaluate")
    parser.add_argument("--features", action="append", metavar="NAME", help="judges, as for evaluate; repeatable")
    parser.add_argument("--out", type=Path, required=True, help="folder for images and tables")
    parser.add_argument("--batch", type=int, default=4, help="images of each prompt")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arms", nargs="*", help="names of arms (default: all); the unguided one is always there")
    parser.add_argument("--table", action="store_true", help="only judge the prompts that are finished")
    given = parser.parse_args()
    known = {arm.name: arm for arm in arms()}
    unknown = [name for name in given.arms or () if name not in known]
    if unknown:
        parser.error(f"arms must be among {', '.join(known)}, got {', '.join(unknown)}.")
    chosen = [arm for arm in known.values() if given.arms is None or arm.name in (BASE, *given.arms)]
    prompts = read_prompts(given.prompts)
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.table:
        draw(Sampling(given.weights, given.family, given.batch, given.seed), chosen, prompts, given.out)
    look(given.out, chosen, prompts, given.batch, given.features or ["demo.classifier:judge"], given.reference)


if __name__ == "__main__":
    main()
