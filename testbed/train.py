"""Train the model of many styles from the demo model: ``make train-styles``.

It has the demo model's network and starts from its weights. Where the demo model saw one picture of a caption, this one sees up
to four drawings of it, each shrunk, turned, moved and mirrored anew, half of the time with the word of its style. So no caption
has a single right picture, and no picture is seen twice.
"""

import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demo import model as demo
from demo import train as demo_train
from demo.data import Picture

from . import pictures

HERE = Path(__file__).parent
WORK = HERE / ".train"
WEIGHTS = HERE / "styles64.safetensors"
LICENCE = "Apache-2.0 AND CC-BY-4.0 AND MIT"
STEPS = 13000
HIGHEST_RATE = 4e-4
ASKED_STYLE = 0.5


def captions(chosen: list[Picture], ids: dict[str, int], length: int, rng: torch.Generator) -> Tensor:
    """Word ids (B, length) as those of the demo model, with the word of the style in half of the captions that have words."""
    rows = demo_train.sample_captions(chosen, ids, length - 1, rng)
    rows = torch.cat([rows, torch.zeros(len(rows), 1, dtype=torch.long)], dim=1)
    for row, picture in zip(rows, chosen, strict=True):
        asked = torch.rand((), generator=rng) < ASKED_STYLE
        if asked and row.any() and isinstance(picture, pictures.StyledPicture):
            row[-1] = ids[picture.style]
    return rows


def training_pictures() -> tuple[list[pictures.StyledPicture], list[str]]:
    """The pictures that are not held out, and all words of their captions."""
    shown = [picture for picture in pictures.load(WORK) if not picture.held_out]
    return shown, sorted({word for p in shown for word in (*p.words, *p.extra_words, p.style)})


def initialise(model: demo_train.Trainee, vocabulary: list[str]) -> None:
    """Load the demo model's weights; words that it does not know keep their random vectors."""
    tensors, header = demo.read(demo.WEIGHTS)
    unet = {n.removeprefix(demo.UNET_PREFIX): t.float() for n, t in tensors.items() if n.startswith(demo.UNET_PREFIX)}
    model.unet.load_state_dict(unet)
    known = tensors[f"{demo.TEXT_PREFIX}bag_of_words.vectors"].float()
    rows = {word: row for row, word in enumerate(json.loads(header["vocabulary"]), start=1)}
    with torch.no_grad():
        model.text.vectors[0] = known[0]
        for row, word in enumerate(vocabulary, start=1):
            if word in rows:
                model.text.vectors[row] = known[rows[word]]


def train(steps: int, seed: int, device: torch.device) -> None:
    """Train the model, or resume its training, and write its weights.

    Raises:
        RuntimeError: the pictures cannot be downloaded, or the loss is not a number.
    """
    shown, vocabulary = training_pictures()
    torch.manual_seed(seed)
    model = demo_train.Trainee(len(vocabulary)).to(device).train()
    initialise(model, vocabulary)
    began = time.monotonic()
    packages = pictures.packages(WORK)

    def keep(ema: dict[str, Tensor], done: int, path: Path = WORK / "latest.safetensors") -> None:
        training: dict[str, Any] = {"images": done * demo_train.BATCH, "batch": demo_train.BATCH, "data": packages}
        demo_train.export(model, ema, vocabulary, training, path, WEIGHTS.stem, LICENCE)

    done = demo_train.fit(
        model, shown, vocabulary, steps, seed, WORK, keep, captions=captions, change=pictures.moved, highest_rate=HIGHEST_RATE
    )
    keep(*done, WEIGHTS)
    print(f"wrote {WEIGHTS} after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    demo_train.main(train, STEPS, __doc__)
