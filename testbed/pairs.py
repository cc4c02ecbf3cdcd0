"""Pairs of images that are judged by looking: ``python -m testbed.pairs confirming``.

The first call chooses the pairs, writes them to ``pairs_HALF.csv`` and draws them on sheets that show pictures, prompts and
nothing else. Whoever looks fills in the column ``better``. The next call tells how often each score and judge agrees.
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from uncertainty.choices import check_choice
from uncertainty.metrics.within_groups import Statistic
from uncertainty_runs.evaluation.report import Cell, Table, between

from . import report
from .judged import DRAWS, as_csv
from .prompts import HALVES

HERE = Path(__file__).parent
WORK = HERE / ".train"
PAIRS, ON_A_SHEET, COLUMNS = 200, 20, 4
SIDE, GAP, LINE = 192, 16, 24
ANSWERS = ("first", "second", "same", "")


@dataclass(frozen=True)
class Pair:
    """Two images of a prompt in a setting, by their places in the batch, and which one is better, one of ``ANSWERS``."""

    setting: str
    text: str
    first: int
    second: int
    better: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for another answer."""
        check_choice(f"better of {self.setting}, {self.text}", self.better, ANSWERS)

    @property
    def good_and_bad(self) -> tuple[int, int]:
        """Place of the better image and of the other one."""
        return (self.first, self.second) if self.better == "first" else (self.second, self.first)


def chosen(half: str, draws: Path = DRAWS, count: int = PAIRS) -> list[Pair]:
    """Pairs of the drawn images, settings in turn; the same ones in every call.

    Raises:
        ValueError: nothing was drawn.
    """
    settings = sorted(path for path in (draws / half).glob("*") if any(path.glob("*.npz")))
    if not settings:
        raise ValueError(f"no images of {half}: run testbed.draw first.")
    rng, pairs = np.random.default_rng(0), {}
    while len(pairs) < count:
        folder = settings[len(pairs) % len(settings)]
        units = sorted(folder.glob("*.npz"))
        path = units[rng.integers(len(units))]
        first, second = rng.permutation(len(_images(path)))[:2].tolist()
        pairs[folder.name, path.stem, frozenset((first, second))] = Pair(folder.name, path.stem, first, second)
    return list(pairs.values())


def sheet(pairs: Sequence[Pair], start: int, half: str, draws: Path = DRAWS) -> Image.Image:
    """Pairs side by side under their numbers and prompts."""
    width, height = 2 * SIDE + GAP, SIDE + LINE + GAP
    rows = -(-len(pairs) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * (width + GAP), rows * height), "#cccccc")
    draw = ImageDraw.Draw(canvas)
    for place, pair in enumerate(pairs):
        row, column = divmod(place, COLUMNS)
        left, top = column * (width + GAP) + GAP // 2, row * height
        draw.text((left, top + LINE // 2), f"{start + place}: {pair.text}", "black", ImageFont.load_default(17), "lm")
        images = _images(draws / half / pair.setting / f"{pair.text}.npz")
        for side, image in enumerate((pair.first, pair.second)):
            picture = Image.fromarray(images[image]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            canvas.paste(picture, (left + side * (SIDE + 4), top + LINE))
    return canvas


def _images(path: Path) -> np.ndarray:
    """The images (B, H, W, 3) of a drawn unit."""
    with np.load(path) as unit:
        images: np.ndarray = unit["images"]
    return images


def read(path: Path) -> list[Pair]:
    """The pairs in a file.

    Raises:
        ValueError: a ``better`` is none of ``ANSWERS``.
    """
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    return [Pair(line["setting"], line["text"], int(line["first"]), int(line["second"]), line["better"]) for line in lines]


def write(path: Path, pairs: Sequence[Pair]) -> None:
    """Write pairs to a file."""
    path.write_text(as_csv([asdict(pair) for pair in pairs]), encoding="utf-8")


def agreement(pairs: Sequence[Pair], rows: Mapping[str, report.Rows], places: Mapping[tuple[str, str, int], int]) -> Table:
    """How often each score and judge finds the same image better, ties counting half; intervals resample prompts.

    Args:
        pairs: judged pairs.
        rows: the images of each setting.
        places: the row of each image, by setting, prompt and place in the batch.
    """
    decided = [pair for pair in pairs if pair.better in ("first", "second")]
    texts = sorted({pair.text for pair in decided})
    lines: list[tuple[Cell, ...]] = []
    for name in dict.fromkeys(name for pair in decided for name in rows[pair.setting].columns):
        parts = torch.zeros(len(texts), 2, dtype=torch.float64)
        for pair in decided:
            good, bad = (_badness(rows[pair.setting], name, places[pair.setting, pair.text, at]) for at in pair.good_and_bad)
            if good == good and bad == bad:
                parts[texts.index(pair.text)] += torch.tensor([0.5 * ((bad > good) + (bad >= good)), 1.0])
        found = Statistic(parts, lambda sums: sums[..., 0] / sums[..., 1]).interval()
        lines.append((name, int(parts[:, 1].sum()), found.value, between(found.low, found.high)))
    return Table("pairs", ("score or judge", "pairs", "agreement", "95 % interval"), lines)


def _badness(rows: report.Rows, name: str, place: int) -> float:
    """A score turned so that high is bad; what judges say and nearness are high for good images. NaN where a setting lacks it."""
    if name not in rows.columns:
        return nan
    judged = name.partition(" ")[0] in (*report.JUDGED, report.NEAR)
    return float((-rows.columns[name] if judged else rows.badness(name))[place])


def _places(path: Path) -> dict[tuple[str, str, int], int]:
    with path.open(encoding="utf-8", newline="") as file:
        return {(path.stem, line["text"], int(line["place"])): row for row, line in enumerate(csv.DictReader(file))}


def main() -> None:
    """Choose pairs and draw their sheets; with answers, write the table of agreement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("half", choices=HALVES, help="which prompts")
    half = parser.parse_args().half
    path, folder = HERE / f"pairs_{half}.csv", WORK / "pairs" / half
    if not path.is_file():
        write(path, chosen(half))
    pairs = read(path)
    if any(not pair.better for pair in pairs):
        folder.mkdir(parents=True, exist_ok=True)
        for start in range(0, len(pairs), ON_A_SHEET):
            sheet(pairs[start : start + ON_A_SHEET], start, half).save(folder / f"{start:03}.png")
        print(f"look at {folder.relative_to(HERE)} and fill in the column better of {path.name}")
        return
    files = sorted((WORK / "rows" / half).glob("*.csv"))
    rows = {file.stem: report.read(file) for file in files}
    table = agreement(pairs, rows, {key: row for file in files for key, row in _places(file).items()})
    table.write(WORK / "report" / half / "pairs")
    print(table.markdown())


if __name__ == "__main__":
    main()
