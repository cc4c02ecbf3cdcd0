"""Screening of guidance and repair: which arm makes images better? ``python -m dev.launcher -m testbed.screening choosing``.

Every prompt is sampled with every arm from the same noise. ``screened`` has the judges look at the images and writes the tables.

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
from uncertainty.window import Window

from . import train
from .draw import WORK as DRAWS
from .draw import Setting, unit_path
from .judges import BODIES, Judge
from .prompts import HALVES, Prompt, asked
from .screened import BASE, BROKEN, UNITS, WORK, file_of, units_of
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

WEIGHTS = {"demo": demo.WEIGHTS, "styles": train.WEIGHTS}
STEPS = 20
WINDOWS = {"early": Window(0.1, 0.15), "middle": Window(0.5, 0.55), "late": Window(0.9, 0.95)}
SIZE = 1.0
PERCENTILE = 80.0
# The step at which a restart starts, and the step that it goes back to.
BACK = {"near": (15, 9), "far": (11, 3)}


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
    done = {(unit["prompt"], unit["arm"]) for unit in units_of(out)}
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
    draw(Sampling(WEIGHTS[given.model], given.family, given.batch, given.cfg), chosen, prompts, out)


if __name__ == "__main__":
    main()
