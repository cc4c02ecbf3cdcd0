"""Protocol 2, the paper's Table 2: is uncertainty high where the model is wrong?

Real pictures that the model never saw are noised to half of the schedule and denoised again. The error of each pixel is known
then, and sparsification tells how well a map sorts pixels by it.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from uncertainty.maps import UncertaintyMap
from uncertainty.metrics.error_map import at_size
from uncertainty.metrics.intervals import clusters, mean_interval
from uncertainty.metrics.sparsification import Sparsification, sparsification
from uncertainty.scores import SCORES
from uncertainty.storage.records import ImageRecord
from uncertainty.storage.tensor_files import load_map
from uncertainty.window import Window

from ..run_folder import map_of
from ..workflow import Workflow
from .filtering_protocol import RESAMPLES
from .judges import Reference, pixels
from .report import Cell, Table, between

DENOISE = 0.5

# What a map must beat: it knows nothing but the picture. "edges": absolute differences to the neighbours.
EDGES, RANDOM = "edges of the picture", "random"

# Parts of the second half of the schedule, as fractions of the steps that are run; "paper": steps 45 to 48 of 50.
PARTS = {"first quarter": Window(0.0, 0.25), "all": Window(0.0, 1.0), "paper": Window(0.8, 0.96)}


@dataclass(frozen=True)
class Measured:
    """One reconstruction: number of its picture, and the curves by map and part."""

    picture: int
    curves: dict[tuple[str, str], Sparsification]


def as_png(picture: Path) -> bytes:
    """A picture of any kind as LoadImage reads it in every version: an RGB PNG file."""
    from PIL import Image

    content = io.BytesIO()
    with Image.open(picture) as image:
        image.convert("RGB").save(content, "PNG")
    return content.getvalue()


def noised(workflow: Workflow, name: str, count: int) -> Workflow:
    """The workflow that starts from a picture, half noised ``count`` times, and measures every step."""
    half = workflow.from_picture(name, count).with_steps(max(2, workflow.steps() // 2)).with_denoise(DENOISE)
    return half.sampling(strength=0.0, window_start=0.0, window_end=1.0)


def maps_of(measured: UncertaintyMap, place: int, shape: torch.Size, part: str) -> dict[str, Tensor]:
    """Maps (3, H, W) of one image by quantity, summed over the steps of a part."""
    rows = list(PARTS[part].steps(len(measured.steps)))
    return {quantity: at_size(measured.quantity(quantity)[rows, place].sum(0), shape) for quantity in measured.quantities}


def measure(images: Sequence[ImageRecord], reference: Reference, folder: Path) -> list[Measured]:
    """Sparsification of every reconstruction."""
    found = []
    for number in sorted({image.number for image in images}):
        measured = load_map(folder / map_of(number))
        truth = pixels(reference.paths[number])
        for image in (image for image in images if image.number == number):
            prediction = pixels(image.path)
            if prediction.shape != truth.shape:
                raise ValueError(
                    f"{reference.paths[number].name} is {truth.shape[2]}x{truth.shape[1]}, its reconstruction "
                    f"{prediction.shape[2]}x{prediction.shape[1]}: give pictures whose sides the model can make."
                )
            found.append(Measured(number, _curves(truth, prediction, measured, image.place)))
    return found


def _curves(truth: Tensor, prediction: Tensor, measured: UncertaintyMap, place: int) -> dict[tuple[str, str], Sparsification]:
    maps = {(name, part): values for part in PARTS for name, values in maps_of(measured, place, truth.shape, part).items()}
    maps |= {(name, "run"): at_size(values[place], truth.shape) for name, values in measured.of_run.items()}
    maps |= {(f"{name}, lowest first", part): -values for (name, part), values in maps.items() if SCORES[name].high_is_sure}
    edges = torch.zeros_like(prediction)
    edges[:, 1:] += prediction.diff(dim=1).abs()
    edges[:, :, 1:] += prediction.diff(dim=2).abs()
    maps[EDGES, "–"] = edges
    maps[RANDOM, "–"] = torch.rand(truth.shape, generator=torch.Generator().manual_seed(place))
    return {key: sparsification(truth.numpy(), prediction.numpy(), value.numpy()) for key, value in maps.items()}


def summary(found: Sequence[Measured], name: str, seed: int = 0) -> Table:
    """Mean AUSE (lower is better) and AURG (higher is better; 0 is random) of each map; intervals resample pictures."""
    pictures = clusters(torch.tensor([each.picture for each in found]))
    rows: list[tuple[Cell, ...]] = []
    for key in found[0].curves:
        ause, aurg = (torch.tensor([getattr(each.curves[key], area) for each in found]) for area in ("ause", "aurg"))
        intervals = [mean_interval(values, pictures, resamples=RESAMPLES, seed=seed) for values in (ause, aurg)]
        cells: list[Cell] = list(key)
        for interval in intervals:
            cells += [interval.value, between(interval.low, interval.high)]
        rows.append(tuple(cells))
    return Table(name, ("map", "steps", "AUSE", "95 % interval", "AURG", "95 % interval"), rows)
