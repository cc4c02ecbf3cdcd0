"""What the judges say of screened images: ``python -m testbed.screened choosing --settings "demo, * CFG 1, 20 steps"``.

Two kinds of tables, of the prompts that every arm has finished: ``changes`` (paired differences from the unguided images) and
``repair`` (how many broken images became whole, and whole ones broken). Intervals resample prompts; settings are pooled.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from uncertainty.metrics.intervals import mean_interval
from uncertainty_runs.evaluation.report import Cell, Table, between

from .judges import BODIES, Judge
from .prompts import HALVES, Prompt, read

WORK = Path(__file__).parent / ".train" / "screening"
UNITS = "units.jsonl"
# The arm that the others are compared with.
BASE = "no guidance"
# A judge's confidence below which an image counts as broken.
BROKEN = 0.5
# The surest of a prompt is that by the first.
KEPT_BY = ("denoised_variance", "denoising_loss")
RESAMPLES = 4000

Units = dict[tuple[str, str], dict[str, Any]]
"""What is noted of each unit, by prompt and arm."""


def units_of(out: Path) -> list[dict[str, Any]]:
    """What is noted of each unit that is finished."""
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

    @staticmethod
    def joined(parts: Sequence["Drawn"]) -> "Drawn":
        """The images of several settings."""
        qualities = {name: torch.cat([part.qualities[name] for part in parts]) for name in parts[0].qualities}
        return Drawn(torch.cat([part.pixels for part in parts]), qualities, parts[0].evaluations)


def judged(out: Path, arm: str, prompts: Sequence[Prompt], judges: dict[str, Judge], evaluations: int) -> Drawn:
    """What the judges see in the images of an arm."""
    pixels, qualities = [], []
    for prompt in prompts:
        files = list(takewhile(Path.is_file, (file_of(out, arm, prompt, place) for place in count())))
        images = torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255 for file in files])
        pixels.append(images)
        qualities.append({body: judge.sees(images, prompt.names, prompt.words) for body, judge in judges.items()})
    together = {f"confidence ({body})": torch.cat([quality[body] for quality in qualities]) for body in judges}
    return Drawn(torch.cat(pixels), together, evaluations)


def choices(arm: str, drawn: dict[str, Drawn], units: Units, prompts: Sequence[Prompt]) -> dict[str, Drawn]:
    """What is left of a restart if originals are kept: where a score is no worse, by each score, or the surest of each prompt."""
    scores = [units[prompt.text, arm]["scores"] for prompt in prompts]
    found = {}
    for name in KEPT_BY:
        before, after = (torch.tensor([value for pair in scores for value in pair[place][name]]) for place in (0, 1))
        found[f"{arm}, kept by {name}"] = drawn[arm].kept(drawn[BASE], after < before)
    before = torch.tensor([pair[0][KEPT_BY[0]] for pair in scores])
    surest = before == before.amin(1, keepdim=True)
    found[f"{arm}, but the surest of {before.shape[1]}"] = drawn[arm].kept(drawn[BASE], ~surest.flatten())
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


def images_of(out: Path, prompts: Sequence[Prompt], judges: dict[str, Judge]) -> tuple[dict[str, Drawn], list[str]]:
    """What every arm of a setting drew of the prompts that all have finished, and each image's prompt.

    Raises:
        ValueError: no prompt is finished.
    """
    units = {(unit["prompt"], unit["arm"]): unit for unit in units_of(out)}
    arms = list(dict.fromkeys(arm for _, arm in units))
    shown = [prompt for prompt in prompts if all((prompt.text, arm) in units for arm in arms)]
    if not arms or not shown:
        raise ValueError(f"{out.name}: no prompt is finished with every arm yet: run testbed.screening again.")
    drawn: dict[str, Drawn] = {}
    for arm in arms:
        unit = units[shown[0].text, arm]
        drawn[arm] = judged(out, arm, shown, judges, unit["evaluations"])
        if len(unit.get("scores", ())) == 2:  # of a restart: before and after
            drawn |= choices(arm, drawn, units, shown)
    batch = len(drawn[BASE].pixels) // len(shown)
    return drawn, [prompt.text for prompt in shown for _ in range(batch)]


def main() -> None:
    """Write the tables of a half into ``screening/HALF/NAME``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("half", choices=HALVES, help="which prompts")
    parser.add_argument("--settings", default="*", help="names of settings to pool, as a file pattern: 'demo*'")
    parser.add_argument("--name", default="all", help="folder of the tables")
    given = parser.parse_args()
    outs = sorted(path.parent for path in (WORK / given.half).glob(f"{given.settings}/{UNITS}"))
    if not outs:
        parser.error(f"nothing of {given.half} matches {given.settings}: run testbed.screening first.")
    judges = {body: Judge(body) for body in BODIES}
    found = [images_of(out, read(given.half), judges) for out in outs]
    drawn = {arm: Drawn.joined([of_setting[arm] for of_setting, _ in found]) for arm in found[0][0]}
    texts = [text for _, of_setting in found for text in of_setting]
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    groups = torch.tensor([numbers[text] for text in texts])
    for table in (changes(drawn, groups), *(repair(drawn, groups, quality) for quality in drawn[BASE].qualities)):
        table.write(WORK.parent / "report" / given.half / given.name)
        print(f"{table.name}: {len(texts)} images of {len(numbers)} prompts\n{table.markdown()}\n")


if __name__ == "__main__":
    main()
