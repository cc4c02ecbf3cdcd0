"""Draws the images that scores are compared on, and measures every score: ``python -m dev.launcher -m testbed.draw choosing``.

A unit is one prompt in one setting: its images come from one sampling, with ComfyUI's KSampler through the pack's node, and
one file holds them with all their scores. A stopped command resumes with the units that are missing. A unit that was drawn by
other weights, or lacks a quantity of today, is drawn again.
"""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demo import model as demo
from uncertainty.baselines import BASELINES
from uncertainty.baselines.cfg_rejection import BASELINE as CFG_REJECTION
from uncertainty.quantities import QUANTITIES
from uncertainty.storage.atomic import atomic_write

from . import train
from .prompts import HALVES, Prompt, asked

WORK = Path(__file__).parent / ".train" / "draws"
IMAGES, SAMPLES = 8, 5
# CFG scales and numbers of steps that go together, see docs/evidence/protocol.md.
SCHEDULES = ((1.0, 20), (3.0, 20), (6.0, 20), (3.0, 8))
# Parts of the schedule after which a step is measured: early, in the middle, late.
MEASURED_AT = (0.3, 0.55, 0.85)


@dataclass(frozen=True)
class Setting:
    """How images are drawn: the model, one of ``MODELS``; its family, one of ``demo.FAMILIES``; CFG; steps of Euler."""

    model: str
    family: str
    cfg: float
    steps: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.model}, {self.family}, CFG {self.cfg:g}, {self.steps} steps"


@dataclass(frozen=True)
class Loaded:
    """A model in ComfyUI: patcher, text encoder, decoder, the shape of one empty latent, and a digest of its weights."""

    model: Any
    clip: Any
    vae: Any
    latent: tuple[int, ...]
    digest: str


def _demo(family: str) -> tuple[Any, ...]:
    return *demo.load(family), (3, 64, 64)


def _styles(family: str) -> tuple[Any, ...]:
    return *demo.load(family, train.WEIGHTS), (3, 64, 64)


def _latent(family: str) -> tuple[Any, ...]:
    from benchmarks import latent_model

    return *latent_model.load(family), latent_model.LATENT


MODELS: dict[str, Callable[[str], tuple[Any, ...]]] = {"styles": _styles, "demo": _demo, "latent": _latent}
"""Loads a model in a family: patcher, text encoder, decoder and the shape of an empty latent."""


class Drawing:
    """Draws units with the pack as ComfyUI loads it, and measures these baselines too."""

    def __init__(self, baselines: Sequence[str] = tuple(BASELINES)) -> None:
        import comfy.utils

        from dev.launcher import import_pack

        comfy.utils.set_progress_bar_enabled(False)
        pack = import_pack().__name__
        self.module = lambda name: importlib.import_module(f"{pack}.{name}")
        self.baselines = baselines

    def load(self, name: str, family: str) -> Loaded:
        """A model in a family."""
        with torch.inference_mode():
            model, clip, vae, latent = MODELS[name](family)
        return Loaded(model, clip, vae, latent, self.module("nodes.hook.model_identity").model_digest(model.model))

    def images(self, loaded: Loaded, setting: Setting, prompt: Prompt) -> tuple[Tensor, dict[str, Tensor]]:
        """Images (B, H, W, 3) of a prompt, 0 to 255, and their scores (B,), by name."""
        import nodes as comfy_nodes

        runs = self.runs(setting, prompt.seed)
        with torch.inference_mode():
            model = loaded.model
            for run in runs:
                model = run.attach(model)
            positive, negative = (loaded.clip.encode_from_tokens_scheduled(loaded.clip.tokenize(t)) for t in (prompt.text, ""))
            empty = {"samples": torch.zeros(IMAGES, *loaded.latent)}
            (latent,) = comfy_nodes.common_ksampler(
                model, prompt.seed, setting.steps, setting.cfg, "euler", "normal", positive, negative, empty
            )
            images = (loaded.vae.decode(latent["samples"]).clamp(0, 1) * 255).round().byte()
        scores: dict[str, Tensor] = {}
        for part, run in zip(MEASURED_AT, runs, strict=True):
            if run.failure:
                raise RuntimeError(f"{prompt.text} in {setting.name}: {run.failure}.")
            scores |= _scores(run.uncertainty_map(), part)
        return images, scores

    def runs(self, setting: Setting, seed: int) -> list[Any]:
        """A run for each step to measure; the last also measures the baselines."""
        options, hook = self.module("uncertainty.options"), self.module("nodes.hook.sampling_hook")
        window = self.module("uncertainty.window").Window
        measured = (BASELINES[name] for name in self.baselines)
        baselines = tuple(b.name for b in measured if b.switched and (b is not CFG_REJECTION or setting.cfg != 1))
        steps = measured_steps(setting.steps)
        described = {"steps": setting.steps, "cfg": setting.cfg, "sampler": "euler", "scheduler": "normal"}
        return [
            hook.UncertaintyRun(
                options.RunSettings(
                    SAMPLES, 0.0, 95.0, window(step / setting.steps, (step + 0.5) / setting.steps), seed,
                    options.Options(baselines=baselines if step == steps[-1] else ()),
                ),
                range(IMAGES),
                described,
            )
            for step in steps
        ]  # fmt: skip


def measured_steps(steps: int) -> list[int]:
    """The steps to measure in a schedule."""
    return [int(part * steps + 1e-9) for part in MEASURED_AT]


def _scores(found: Any, part: float) -> dict[str, Tensor]:
    """Scores (B,) in the map of one step: quantities by ``name@part`` of the schedule, others by name."""
    quantities = {f"{name}@{part:g}": found.score(name).value for name in found.quantities}
    return quantities | {name: found.score(name).value for name in (*found.of_run, *found.baselines)}


def about(loaded: Loaded, setting: Setting, prompt: Prompt, baselines: Sequence[str]) -> dict[str, Any]:
    """What a unit depends on: equal descriptions have equal images and scores."""
    return {
        "setting": asdict(setting), "prompt": prompt.text, "seed": prompt.seed, "weights": loaded.digest, "images": IMAGES,
        "samples": SAMPLES, "steps": measured_steps(setting.steps), "quantities": list(QUANTITIES), "baselines": list(baselines),
    }  # fmt: skip


def unit_path(folder: Path, setting: Setting, prompt: Prompt) -> Path:
    """The file of a unit."""
    return folder / prompt.half / setting.name / f"{prompt.text}.npz"


def described(path: Path) -> dict[str, Any] | None:
    """The description in a unit's file; None if there is no file."""
    if not path.is_file():
        return None
    with np.load(path) as unit:
        found: dict[str, Any] = json.loads(str(unit["about"]))
    return found


def write_unit(path: Path, images: Tensor, scores: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write a unit's file: ``images`` (B, H, W, 3), a value for each image under ``score NAME``, and ``about`` as JSON."""
    arrays = {f"score {name}": value.double().numpy() for name, value in scores.items()}
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, images=images.numpy(), about=np.array(json.dumps(description)), **arrays)


def draw(
    settings: Sequence[Setting], prompts: Sequence[Prompt], folder: Path = WORK, baselines: Sequence[str] = tuple(BASELINES)
) -> Iterator[tuple[Setting, Prompt, float]]:
    """Draw the units that are missing. Yields each with the seconds it took."""
    drawing, loaded, key = Drawing(baselines), None, None
    for setting in settings:
        if loaded is None or key != (setting.model, setting.family):
            key = setting.model, setting.family
            loaded = drawing.load(*key)
        for prompt in prompts:
            path, description = unit_path(folder, setting, prompt), about(loaded, setting, prompt, baselines)
            if described(path) == description:
                continue
            began = time.monotonic()
            write_unit(path, *drawing.images(loaded, setting, prompt), description)
            yield setting, prompt, time.monotonic() - began


def settings_of(arguments: argparse.Namespace, model: str) -> list[Setting]:
    """The settings of a model that were asked for, family by family, so that each is loaded once."""
    return [
        Setting(model, family, cfg, steps)
        for family, (cfg, steps) in product(arguments.families, SCHEDULES)
        if cfg in arguments.cfgs and steps in arguments.steps
    ]


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Options for the settings of a command."""
    parser.add_argument("half", choices=HALVES, help="which prompts")
    parser.add_argument("--models", nargs="+", choices=[*MODELS], default=[*MODELS])
    parser.add_argument("--families", nargs="+", choices=demo.FAMILIES, default=list(demo.FAMILIES))
    for position, (name, kind) in enumerate((("--cfgs", float), ("--steps", int))):
        known = sorted({schedule[position] for schedule in SCHEDULES})
        parser.add_argument(name, nargs="+", type=kind, choices=known, default=known)
    parser.add_argument("--prompts", type=int, help="only the first so many, for a try")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_settings(parser)
    parser.add_argument("--baselines", nargs="*", choices=list(BASELINES), default=list(BASELINES))
    arguments = parser.parse_args()
    sys.argv = sys.argv[:1]  # ComfyUI reads the command line when it is imported
    for model in arguments.models:
        settings, prompts = settings_of(arguments, model), asked(arguments.half, model)[: arguments.prompts]
        for number, (setting, prompt, seconds) in enumerate(draw(settings, prompts, baselines=arguments.baselines), start=1):
            print(
                f"{number} of at most {len(settings) * len(prompts)}: {setting.name}: {prompt.text}, {seconds:.1f} s", flush=True
            )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped: run the same command to resume")
