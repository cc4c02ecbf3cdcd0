"""What the judges say of drawn images, and all scores beside it, one row an image: ``python -m testbed.judged choosing``.

Values that do not come from uncertainty, higher for better images unless said otherwise:

- ``confidence (JUDGE)``: probability that the image shows what the prompt asks for (``judges.Judge.confidence``).
- ``likeness (JUDGE)``: minus the distance, in the judge's embedding, to the nearest picture of the prompt's emoji in any style,
  as it is or mirrored. Empty for combined prompts, which have no picture.
- ``nearness``: minus the distance to the nearest of all training pictures, in pixels (see ``Pixels``): high means memorised.
- ``total_variation``: how busy the image is, neither good nor bad.
"""

import argparse
import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from math import nan
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from uncertainty.metrics.features import EfficientNetLite0, Extractor
from uncertainty.storage.atomic import write_whole
from uncertainty_runs.evaluation.judges import total_variation

from . import pictures
from .judges import BODIES, Judge
from .prompts import HALVES, Prompt, is_asked, read

WORK = Path(__file__).parent / ".train"
DRAWS = WORK / "draws"
NEAR_SCALES = (1.0, 5 / 6, 2 / 3)
AT_ONCE = 64


class Pixels:
    """Nearness to training pictures: minus the root mean square difference at 32x32 pixels, 0 to 1.

    The pictures are shown as they are and mirrored, each in three of the sizes of training, centred. Turned and moved copies
    would take thousands for each picture, so the nearness of a turned image is underestimated.
    """

    def __init__(self, shown: Tensor) -> None:
        copies = [self.small(_shrunk(mirrored, scale)) for mirrored in (shown, shown.flip(3)) for scale in NEAR_SCALES]
        self.known = torch.cat(copies)

    @staticmethod
    def small(images: Tensor) -> Tensor:
        """Images (B, 3, 64, 64) as rows (B, 3072)."""
        return avg_pool2d(images, 2).flatten(1)

    def __call__(self, images: Tensor) -> Tensor:
        """Nearness (B,) of images (B, 3, 64, 64), 0 to 1."""
        rows = self.small(images)
        return -torch.cdist(rows, self.known).min(1).values / rows.shape[1] ** 0.5


def _shrunk(images: Tensor, scale: float) -> Tensor:
    """Images (B, 3, 64, 64), 0 to 1, smaller on white."""
    side = round(64 * scale)
    smaller = interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)
    before = (64 - side) // 2
    after = 64 - side - before
    return pad(smaller, (before, after, before, after), value=1.0)


class Judging:
    """The judges, and what they say of all pictures.

    Args:
        known: all pictures, held-out ones included.
    """

    def __init__(self, known: Sequence[pictures.StyledPicture]) -> None:
        self.judges = {body: Judge(body) for body in BODIES}
        self.lite0 = EfficientNetLite0()
        self.names = [picture.name for picture in known]
        self.pixels = torch.stack([picture.pixels for picture in known]) / 2 + 0.5
        self.nearness = Pixels(self.pixels[[not picture.held_out for picture in known]])

    @cached_property
    def embeddings(self) -> dict[str, Tensor]:
        """Embeddings (2N, D) of the pictures and their mirror images, by judge."""
        both = torch.cat([self.pixels, self.pixels.flip(3)])
        found: dict[str, Tensor] = {}
        for judge in self.extractors:
            found[judge.name] = torch.cat([judge(part).embedding for part in both.split(AT_ONCE)])
        return found

    @property
    def extractors(self) -> tuple[Extractor, ...]:
        """All judges, as extractors of features."""
        return (*self.judges.values(), self.lite0)

    def values(self, images: Tensor, prompt: Prompt) -> dict[str, Tensor]:
        """Values (B,) of images (B, 3, H, W), 0 to 1, that were drawn for a prompt."""
        found = {}
        for body, judge in self.judges.items():
            found[f"confidence ({body})"] = judge.sees(images, prompt.names, prompt.words)
        rows = [row for row, name in enumerate(self.names * 2) if name in prompt.names]
        for judge in self.extractors:
            body = judge.name.removesuffix(" judge")
            if rows:
                distances = torch.cdist(judge(images).embedding, self.embeddings[judge.name][rows])
                found[f"likeness ({body})"] = -distances.min(1).values
            else:
                found[f"likeness ({body})"] = torch.full((len(images),), nan)
        found["nearness"] = self.nearness(images)
        found["total_variation"] = torch.tensor([total_variation(image) for image in images])
        return found


def units(
    half: str, settings: str = "*", folder: Path = DRAWS
) -> Iterator[tuple[str, dict[str, object], Tensor, dict[str, Tensor]]]:
    """The drawn units of a half, setting by setting: its name, description, images (B, 3, H, W), 0 to 1, and scores (B,)."""
    for path in sorted((folder / half).glob(f"{settings}/*.npz")):
        with np.load(path) as unit:
            images = torch.from_numpy(unit["images"]).movedim(3, 1).float() / 255
            scores = {
                name.removeprefix("score "): torch.from_numpy(unit[name]) for name in unit.files if name.startswith("score ")
            }
            yield path.parent.name, json.loads(str(unit["about"])), images, scores


def rows(half: str, judging: Judging, settings: str = "*") -> dict[str, list[dict[str, object]]]:
    """A row for each image, by the name of its setting. Prompts of kinds that a model is no longer asked for are left out."""
    prompts = {prompt.text: prompt for prompt in read(half)}
    found: dict[str, list[dict[str, object]]] = {}
    for name, description, images, scores in units(half, settings):
        prompt = prompts[str(description["prompt"])]
        if not is_asked(prompt, name.partition(",")[0]):
            continue
        values = {**scores, **judging.values(images, prompt)}
        head = {key: value for key, value in asdict(prompt).items() if key in ("half", "kind", "text", "style")}
        for place in range(len(images)):
            numbers = {key: f"{float(value[place]):.7g}" for key, value in values.items()}
            found.setdefault(name, []).append({**head, "seed": prompt.seed, "place": place, **numbers})
    return found


def as_csv(lines: Sequence[dict[str, object]]) -> str:
    """Rows with the same keys as CSV; NaN is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: "" if value == "nan" else value for key, value in line.items()} for line in lines)
    return text.getvalue()


def main() -> None:
    """Write ``rows/HALF/SETTING.csv`` for every setting that was drawn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("half", choices=HALVES, help="which prompts")
    parser.add_argument("--settings", default="*", help="names of settings to judge, as a file pattern: 'demo*'")
    given = parser.parse_args()
    half = given.half
    for name, lines in rows(half, Judging(pictures.load(WORK)), given.settings).items():
        path = WORK / "rows" / half / f"{name}.csv"
        write_whole(path, as_csv(lines).encode())
        print(f"{len(lines)} images: {path.relative_to(WORK)}")


if __name__ == "__main__":
    main()
