"""Screening of guidance and repair: which arm makes images better? ``python -m dev.launcher -m testbed.screening choosing``.

Every prompt is sampled with every arm from the same noise. Both judges look at the images, and two kinds of tables are written:
``changes`` (paired differences from the unguided images) and ``repair`` (how many broken images became whole, and whole ones
broken). Intervals resample prompts.

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
from uncertainty.metrics.intervals import mean_interval
from uncertainty.window import Window
from uncertainty_runs.evaluation.report import Cell, Table, between

from . import train
from .draw import WORK as DRAWS
from .draw import Setting, unit_path
from .judges import BODIES, Judge
from .prompts import HALVES, Prompt, asked
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

WORK = Path(__file__).parent / ".train" / "screening"
WEIGHTS = {"demo": demo.WEIGHTS, "styles": train.WEIGHTS}
STEPS = 20
WINDOWS = {"early": Window(0.1, 0.15), "middle": Window(0.5, 0.55), "late": Window(0.9, 0.95)}
SIZE = 1.0
PERCENTILE = 80.0
# The step at which a restart starts, and the step that it goes back to.
BACK = {"near": (15, 9), "far": (11, 3)}
KEPT_BY = ("denoised_variance", "denoising_loss")
RESAMPLES = 4000
# A judge's confidence below which an image counts as broken.
BROKEN = 0.5
BASE = "no guidance"
UNITS = "units.jsonl"

Units = dict[tuple[str, str], dict[str, Any]]
"""What is noted of each unit, by prompt and arm."""


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
            yield Arm(f"restart {far} {name}", restart=Restart(low, high, region))
        more = STEPS + low - high + 1 + 2 * SAMPLES
        yield Arm(f"{more} steps", steps=more)


class Sampling:
    """Samples prompts with arms.

    Args:
        weights: file of a model of the demo's architecture.
        family: one of ``demo.FAMILIES``.
        batch: images of a prompt.
        cfg: CFG scale.
    """

    def __init__(self, weights: Path, family: str, batch: int, cfg: float) -> None:
        comfy.utils.set_progress_bar_enabled(False)
        self.model, self.clip, self.vae = demo.load(family, weights)
        self.batch, self.cfg = batch, cfg
        self.unguided: tuple[str, Start] = ("", Start())

    def __call__(self, arm: Arm, prompt: Prompt) -> tuple[Tensor, dict[str, Any]]:
        """Images (B, 3, H, W), 0 to 1, and what is noted of the run."""
        start = Start() if arm.name == BASE or not arm.same else self._start(prompt, arm.same)
        guider = self._guider(arm.steering(), start, prompt)
        images = self._sample(guider, arm, prompt.seed)
        if arm.name == BASE:
            self.unguided = prompt.text, Start(guider.predicted)
        noted: dict[str, Any] = {"evaluations": guider.evaluations}
        if isinstance(guider.steering, Guidance):
            noted["gradient"] = [length.mean().item() for length in guider.steering.lengths]
        if guider.scores:
            noted["scores"] = [{name: values.tolist() for name, values in scores.items()} for scores in guider.scores]
        return images, noted

    def _start(self, prompt: Prompt, calls: int) -> Start:
        """The first calls of the unguided run."""
        if self.unguided[0] != prompt.text:
            self(Arm(BASE), prompt)
        whole = self.unguided[1]
        return Start(whole.predicted[:calls], whole.computed)

    def _guider(self, steering: Steering | None, start: Start, prompt: Prompt) -> Steered:
        positive, negative = (self.clip.encode_from_tokens_scheduled(self.clip.tokenize(text)) for text in (prompt.text, ""))
        return Steered(self.model, positive, negative, self.cfg, steering, start, prompt.seed)

    def _sample(self, guider: Steered, arm: Arm, seed: int) -> Tensor:
        sigmas = comfy.samplers.calculate_sigmas(self.model.get_model_object("model_sampling"), "normal", arm.steps)
        sampler = arm.restart.sampler(guider) if arm.restart else comfy.samplers.sampler_object("euler")
        seed += arm.other_noise
        latent = torch.zeros(self.batch, 3, 64, 64)
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            sampled = guider.sample(noise, latent, sampler, sigmas, disable_pbar=True, seed=seed)
            return self.vae.decode(sampled).movedim(-1, 1).clamp(0, 1).cpu()


def draw(sampling: Sampling, chosen: Sequence[Arm], prompts: Sequence[Prompt], out: Path) -> None:
    """Sample what ``units.jsonl`` does not list yet."""
    done = {(unit["prompt"], unit["arm"]) for unit in _units(out)}
    for number, prompt in enumerate(prompts):
        for arm in chosen:
            if (prompt.text, arm.name) in done:
                continue
            began = time.monotonic()
            images, noted = sampling(arm, prompt)
            for place, image in enumerate(images):
                path = file_of(out, arm.name, prompt, place)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).save(path)
            line = {"prompt": prompt.text, "arm": arm.name, **noted, "seconds": round(time.monotonic() - began, 2)}
            with (out / UNITS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        print(f"{number + 1} of {len(prompts)}: {prompt.text}", flush=True)


def _units(out: Path) -> list[dict[str, Any]]:
    path = out / UNITS
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def file_of(out: Path, arm: str, prompt: Prompt, place: int) -> Path:
    """File of an image."""
    return out / "drawn" / arm / f"{prompt.text} {place}.png"


@dataclass(frozen=True)
class Drawn:
    """What one arm drew.

    Attributes:
        pixels: (N, 3, H, W), 0 to 1, prompt by prompt.
        qualities: confidence by each judge, (N,), by name.
        evaluations: of an image.
    """

    pixels: Tensor
    qualities: dict[str, Tensor]
    evaluations: int

    def kept(self, base: "Drawn", better: Tensor) -> "Drawn":
        """These images where they are better (N,), and those of the base elsewhere."""
        pixels = torch.where(better[:, None, None, None], self.pixels, base.pixels)
        qualities = {name: torch.where(better, values, base.qualities[name]) for name, values in self.qualities.items()}
        return Drawn(pixels, qualities, self.evaluations)


def judged(out: Path, arm: str, prompts: Sequence[Prompt], batch: int, judges: dict[str, Judge], evaluations: int) -> Drawn:
    """What the judges see in the images of an arm."""
    pixels, qualities = [], []
    for prompt in prompts:
        files = [file_of(out, arm, prompt, place) for place in range(batch)]
        images = torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255 for file in files])
        pixels.append(images)
        qualities.append({body: judge.sees(images, prompt.names, prompt.words) for body, judge in judges.items()})
    together = {f"confidence ({body})": torch.cat([quality[body] for quality in qualities]) for body in judges}
    return Drawn(torch.cat(pixels), together, evaluations)


def choices(arm: str, drawn: dict[str, Drawn], units: Units, prompts: Sequence[Prompt]) -> dict[str, Drawn]:
    """What is left of a restart if the original is kept where its score is no worse, by each score."""
    scores = [units[prompt.text, arm]["scores"] for prompt in prompts]
    found = {}
    for name in KEPT_BY:
        before, after = (torch.tensor([value for pair in scores for value in pair[place][name]]) for place in (0, 1))
        found[f"{arm}, kept by {name}"] = drawn[arm].kept(drawn[BASE], after < before)
    return found


def changes(drawn: dict[str, Drawn], groups: Tensor) -> Table:
    """Paired differences of every quality from the unguided arm."""
    base = drawn[BASE]
    head = ["arm", "evaluations", "pixels changed"]
    for quality in base.qualities:
        head += [f"{quality}, change", "95 %"]
    rows = []
    for arm, images in drawn.items():
        row: list[Cell] = [arm, images.evaluations, float((images.pixels - base.pixels).abs().mean())]
        for quality, before in base.qualities.items():
            if arm == BASE:
                row += [float(before.mean()), "its mean"]
                continue
            interval = mean_interval(images.qualities[quality] - before, groups, resamples=RESAMPLES)
            row += [interval.value, between(interval.low, interval.high)]
        rows.append(tuple(row))
    return Table("changes", tuple(head), rows)


def repair(drawn: dict[str, Drawn], groups: Tensor, quality: str) -> Table:
    """The share of broken images that each arm makes whole, and of whole ones that it breaks, by a judge's confidence."""
    broken = drawn[BASE].qualities[quality] < BROKEN
    head = ("arm", "evaluations", "broken", f"mended ({quality})", "95 %", "whole", "harmed", "95 %")
    rows: list[tuple[Cell, ...]] = []
    for arm, images in drawn.items():
        now = images.qualities[quality] < BROKEN
        cells: list[Cell] = [arm, images.evaluations]
        for before, after in ((broken, ~now), (~broken, now)):
            cells.append(int(before.sum()))
            if len(set(groups[before].tolist())) < 2:
                cells += ["–", "–"]
                continue
            interval = mean_interval(after[before].float(), groups[before], resamples=RESAMPLES)
            cells += [interval.value, between(interval.low, interval.high)]
        rows.append(tuple(cells))
    return Table(f"repair {quality}", head, rows)


def look(out: Path, chosen: Sequence[Arm], prompts: Sequence[Prompt], batch: int) -> None:
    """Let the judges look at the prompts that every arm has finished, and write the tables."""
    units = {(unit["prompt"], unit["arm"]): unit for unit in _units(out)}
    shown = [prompt for prompt in prompts if all((prompt.text, arm.name) in units for arm in chosen)]
    if not shown:
        print("no prompt is finished with every arm yet.")
        return
    judges = {body: Judge(body) for body in BODIES}
    drawn: dict[str, Drawn] = {}
    for arm in chosen:
        evaluations = units[shown[0].text, arm.name]["evaluations"]
        drawn[arm.name] = judged(out, arm.name, shown, batch, judges, evaluations)
        if arm.restart:
            drawn |= choices(arm.name, drawn, units, shown)
    groups = torch.arange(len(shown)).repeat_interleave(batch)
    for table in (changes(drawn, groups), *(repair(drawn, groups, quality) for quality in drawn[BASE].qualities)):
        table.write(out)
        print(f"{table.name}, {len(shown)} prompts of {batch} images\n{table.markdown()}\n")


def sometimes_right(prompts: Sequence[Prompt], setting: Setting) -> list[Prompt]:
    """The prompts of which ``testbed.draw`` drew broken and whole images in a setting, by the first judge.

    The others say nothing of repair: the model cannot draw them, or always can.

    Raises:
        ValueError: a prompt has not been drawn.
    """
    judge, found = Judge(next(iter(BODIES))), []
    for prompt in prompts:
        path = unit_path(DRAWS, setting, prompt)
        if not path.is_file():
            raise ValueError(f"{prompt.text} was not drawn in {setting.name}: run testbed.draw {prompt.half} first.")
        with np.load(path) as unit:
            images = torch.from_numpy(unit["images"]).movedim(3, 1) / 255
        broken = judge.sees(images, prompt.names, prompt.words) < BROKEN
        if 0 < int(broken.sum()) < len(broken):
            found.append(prompt)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("half", choices=HALVES, help="which prompts")
    parser.add_argument("--model", choices=WEIGHTS, default="demo")
    parser.add_argument("--family", choices=demo.FAMILIES, default=demo.FAMILIES[0])
    parser.add_argument("--cfg", type=float, default=1.0)
    parser.add_argument("--prompts", type=int, help="only the first so many")
    parser.add_argument("--batch", type=int, default=4, help="images of each prompt")
    parser.add_argument("--arms", nargs="*", help="names of arms (default: all); the unguided one is always there")
    parser.add_argument("--table", action="store_true", help="only judge the prompts that are finished")
    given = parser.parse_args()
    known = {arm.name: arm for arm in arms()}
    unknown = [name for name in given.arms or () if name not in known]
    if unknown:
        parser.error(f"arms must be among {', '.join(known)}, got {', '.join(unknown)}.")
    chosen = [arm for arm in known.values() if given.arms is None or arm.name in (BASE, *given.arms)]
    setting = Setting(given.model, given.family, given.cfg, STEPS)
    prompts = sometimes_right(asked(given.half, given.model), setting)[: given.prompts]
    out = WORK / given.half / setting.name
    out.mkdir(parents=True, exist_ok=True)
    if not given.table:
        draw(Sampling(WEIGHTS[given.model], given.family, given.batch, given.cfg), chosen, prompts, out)
    look(out, chosen, prompts, given.batch)


if __name__ == "__main__":
    main()
