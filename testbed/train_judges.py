"""Train the judges of ``judges.py``: ``make train-judges``, about half an hour each on one thread.

The emoji are classes, each with its picture in up to four styles, held-out ones included. Every copy is rotated, moved, scaled,
mirrored, changed in colour and brightness, blurred, and shown with noise and a hole. A part of the copies is joined with another
along a line, so that the emoji head learns doubt and the word head learns words in company that no emoji has.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from demo import train_classifier
from demo.data import NOTO

from . import pictures
from .judges import BODIES, SIZE, Network, weights

WORK = Path(__file__).parent / ".train"
STEPS, BATCH, LEARNING_RATE = 3000, 64, 2e-3
SEEDS = {"convolutions": 11, "patches": 12}
JOINED = 0.4
WORD_LOSS = 0.3
VISIBLE = 0.4  # a part of this share of the image shows its words for certain
FRESH = 10  # new changed copies of each picture, on which accuracy and calibration are measured


class Data:
    """All pictures as tensors: pixels (N, 3, 64, 64), what may be mirrored and classes (N,), words and doubtful words (N, W)."""

    def __init__(self, folder: Path = WORK) -> None:
        shown = pictures.load(folder)
        self.labels = list(dict.fromkeys(picture.name for picture in shown))
        self.words = sorted({word for picture in shown for word in picture.words})
        self.pixels = torch.stack([picture.pixels for picture in shown])
        self.mirrored = torch.tensor([picture.mirrored for picture in shown])
        self.classes = torch.tensor([self.labels.index(picture.name) for picture in shown])
        self.has = torch.tensor([[word in picture.words for word in self.words] for picture in shown]).float()
        # "Crying" may be visible in a picture that only its other names call so: neither a yes nor a no.
        self.doubtful = torch.tensor([[word in picture.extra_words for word in self.words] for picture in shown]).float()

    def changed(self, chosen: Tensor, rng: torch.Generator) -> Tensor:
        """Changed copies (B, 3, 64, 64) of the chosen pictures (B,)."""
        return train_classifier.changed(self.pixels[chosen], self.mirrored[chosen], rng)


def halves(count: int, rng: torch.Generator) -> Tensor:
    """One side of a random line near the centre of each of ``count`` images, (B, 1, 64, 64), 0 or 1; all of it for most."""
    angle = torch.rand(count, 1, 1, generator=rng) * 2 * math.pi
    offset = (torch.rand(count, 1, 1, generator=rng) - 0.5) * 0.7
    axis = torch.linspace(-1, 1, SIZE)
    side = torch.cos(angle) * axis[None, :, None] + torch.sin(angle) * axis[None, None, :] < offset
    side |= (torch.rand(count, generator=rng) >= JOINED)[:, None, None]
    return side[:, None].float()


def loss(network: Network, data: Data, rng: torch.Generator) -> Tensor:
    """Cross entropy of both heads on a batch of changed copies."""
    first, second = (torch.randint(len(data.classes), (BATCH,), generator=rng) for _ in range(2))
    side = halves(BATCH, rng)
    images = side * data.changed(first, rng) + (1 - side) * data.changed(second, rng)
    share = side.mean((1, 2, 3))
    with torch.autocast("cpu", torch.bfloat16):
        _, emoji, words = network(images.contiguous(memory_format=torch.channels_last))
    of_first, of_second = (
        cross_entropy(emoji.float(), data.classes[rows], reduction="none", label_smoothing=0.05) for rows in (first, second)
    )
    visible, hidden = ((part / VISIBLE).clamp(max=1)[:, None] for part in (share, 1 - share))
    truth = torch.maximum(visible * data.has[first], hidden * data.has[second])
    certain = 1 - (torch.maximum(visible * data.doubtful[first], hidden * data.doubtful[second]) * (1 - truth))
    of_words = binary_cross_entropy_with_logits(words, truth, weight=certain, reduction="none").sum(1)
    return (share * of_first + (1 - share) * of_second + WORD_LOSS * of_words).mean()


def train(body: str, data: Data, steps: int = STEPS) -> Network:
    """The trained network, not calibrated yet."""
    torch.manual_seed(SEEDS[body])
    rng = torch.Generator().manual_seed(SEEDS[body])
    network = Network(body, len(data.labels), len(data.words)).to(memory_format=torch.channels_last)
    torch.nn.init.constant_(network.words.bias, -4.0)
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
    began, total = time.monotonic(), 0.0
    for step in range(steps):
        found = loss(network, data, rng)
        optimiser.zero_grad()
        found.backward()
        optimiser.step()
        schedule.step()
        total += found.item()
        if step % 100 == 99:
            print(f"{body}, step {step + 1}: loss {total / 100:.3f}, {time.monotonic() - began:.0f} s", flush=True)
            total = 0.0
    return network.eval()


def calibrate(network: Network, data: Data, rng: torch.Generator) -> None:
    """Set the temperatures that maximise the likelihood of new changed copies (Guo et al. 2017, arXiv 1706.04599)."""
    emoji, words, rows = fresh(network, data, rng)
    network.emoji_temperature.fill_(train_classifier.calibrated(emoji, data.classes[rows]))
    certain = 1 - data.doubtful[rows] * (1 - data.has[rows])
    candidates = torch.logspace(-1, 0.5, 60)
    losses = [binary_cross_entropy_with_logits(words / value, data.has[rows], weight=certain) for value in candidates]
    network.word_temperature.fill_(float(candidates[torch.stack(losses).argmin()]))


def fresh(network: Network, data: Data, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of emoji and words of ``FRESH`` new changed copies of every picture, and the number of each copy's picture."""
    every = torch.arange(len(data.classes))
    with torch.no_grad():
        found = [network(data.changed(every, rng))[1:] for _ in range(FRESH)]
    return torch.cat([emoji for emoji, _ in found]), torch.cat([words for _, words in found]), every.repeat(FRESH)


def figures(network: Network, data: Data, rng: torch.Generator) -> dict[str, float]:
    """What the judge is worth on new changed copies.

    Returns:
        accuracy: share of copies whose emoji has the highest probability.
        calibration_error: expected calibration error of that probability in ten bins (Guo et al. 2017, Eq. 3).
        word_recall, word_precision: at probability 0.5, of words that are certain.
        least_word: mean over copies of the smallest probability among the words of the right caption.
    """
    emoji, words, rows = fresh(network, data, rng)
    sure, guessed = emoji.softmax(1).max(1)
    right = (guessed == data.classes[rows]).float()
    bins = (sure * 10).long().clamp(max=9)
    parts = [(sure[bins == i].mean() - right[bins == i].mean()).abs() * (bins == i).float().mean() for i in bins.unique()]
    has, probability = data.has[rows] > 0, words.sigmoid()
    certain = has | (data.doubtful[rows] == 0)
    positive = (probability > 0.5) & certain
    hits = (positive & has).sum()
    return {
        "accuracy": float(right.mean()),
        "calibration_error": float(torch.stack(parts).sum()),
        "word_recall": float(hits / has.sum()),
        "word_precision": float(hits / positive.sum()),
        "least_word": float(torch.where(has, probability, 1.0).min(1).values.mean()),
    }


def main() -> None:
    """Train judges and write their weights in half precision."""
    from demo.train import write

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("judges", nargs="*", choices=[*BODIES, []], help="which to train (default: all)")
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    data = Data()
    packages = [NOTO.package, pictures.TWEMOJI.package, pictures.FLUENT.package, pictures.BLOB.package]
    for body in arguments.judges or BODIES:
        network = train(body, data, arguments.steps)
        rng = torch.Generator().manual_seed(SEEDS[body] + 1000)
        calibrate(network, data, rng)
        found = figures(network, data, rng)
        about = {"labels": json.dumps(data.labels), "words": json.dumps(data.words), "data": json.dumps(packages)}
        about |= {name: f"{value:.4f}" for name, value in found.items()}
        tensors = {n: (t.half() if t.is_floating_point() else t).contiguous() for n, t in network.state_dict().items()}
        write(tensors, about, weights(body))
        print(f"{body}: {', '.join(f'{name} {value:.4f}' for name, value in found.items())}; wrote {weights(body).name}")


if __name__ == "__main__":
    main()
