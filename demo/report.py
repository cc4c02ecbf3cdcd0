"""Draws the pictures of ``demo/README.md``, the sample sheet and the training curve: ``make train-report``."""

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import comfy.utils
import matplotlib as mpl
import torch
from matplotlib import pyplot
from torch import Tensor

import nodes

from . import model
from .train import HERE, VELOCITY_STEPS, WORK

PROMPTS = (
    "grinning face", "crying face", "face sunglasses", "clown face", "cat face",
    "tiger face", "panda", "frog", "penguin", "heart",
    "broken heart", "pizza", "hamburger", "banana", "strawberry",
    "bus", "rocket", "airplane", "flag france", "flag japan",
)  # fmt: skip
SEED = 1
IMAGES = 8
STEPS = 30
CFG = 3.0


def sample(network: Any, clip: Any, vae: Any, latent: Sequence[int], prompts: Sequence[str] = PROMPTS) -> dict[str, Tensor]:
    """Images (IMAGES, 64, 64, 3) by prompt, from latents of the given shape. Prints the time per image."""

    def encode(text: str) -> list:
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))

    images, seconds = {}, 0.0
    for prompt in prompts:
        empty = {"samples": torch.zeros(IMAGES, *latent)}
        began = time.monotonic()
        (drawn,) = nodes.common_ksampler(network, SEED, STEPS, CFG, "euler", "normal", encode(prompt), encode(""), empty)
        images[prompt] = vae.decode(drawn["samples"])
        seconds += time.monotonic() - began
    each = seconds / len(prompts) / IMAGES
    print(f"{each:.2f} s per image: {STEPS} steps, CFG {CFG}, batch of {IMAGES}, {torch.get_num_threads()} threads")
    return images


def draw_sheet(images: dict[str, Tensor], path: Path, columns: int = 2) -> None:
    """Draw one row of images per prompt, without selection."""
    rows = -(-len(images) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(6.2 * columns, 0.98 * rows), layout="constrained")
    for axis, (prompt, batch) in zip(axes.T.flatten(), images.items(), strict=True):
        axis.imshow(torch.cat(list(batch), dim=1).numpy(), interpolation="nearest")
        axis.set_title(prompt, loc="left", fontsize=9, pad=2)
        axis.axis("off")
    figure.savefig(path, dpi=110)


def draw_curve(log: Path, path: Path) -> None:
    """Plot the mean loss of every 50 steps. Where a resumed run logged a step twice, the later entry counts."""
    with log.open(encoding="utf-8") as file:
        losses = {int(row["step"]): float(row["loss"]) for row in csv.DictReader(file)}
    steps = sorted(losses)
    figure, axis = pyplot.subplots(figsize=(7, 3), layout="constrained")
    for label, part in (
        ("velocity", [s for s in steps if s <= VELOCITY_STEPS]),
        ("clean image, weighted", [s for s in steps if s > VELOCITY_STEPS]),
    ):
        axis.plot(part, [losses[s] for s in part], label=label)
    axis.set(xlabel="step (32 images each)", ylabel="mean squared error", yscale="log")
    axis.legend(frameon=False)
    axis.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    mpl.use("agg")
    comfy.utils.set_progress_bar_enabled(False)
    with torch.inference_mode():
        draw_sheet(sample(*model.load(), (3, 64, 64)), HERE / "sample_sheet.jpg")
    if (WORK / "loss.csv").exists():
        draw_curve(WORK / "loss.csv", HERE / "training_curve.png")
