"""Train the judges of ``judges.py``: ``make train-judges``, about half an hour each on one thread.

The emoji are classes, each with its picture in up to four styles, held-out ones included. Every copy is rotated, moved, scaled,
mirrored, changed in colour and brightness, blurred, and shown with noise and a hole; half of the copies are first placed as the
model of many styles sees them. A part of the copies is joined with another along a line, so that the emoji head learns doubt and
the word head learns words in company that no emoji has. Training goes on from the judge's weights, if there are any.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from demo import train_classifier

from . import pictures
from .judges import BODIES, SIZE, Judge, Network, weights

WORK = Path(__file__).parent / ".train"
STEPS, BATCH, LEARNING_RATE = 3000, 64, 2e-3
Copies = Callable[[Tensor, torch.Generator], Tensor]
SEEDS = {"convolutions": 11, "patches": 12}
FURTHER_RATE = 1e-3  # where training goes on
PLACED = 0.5
JOINED = 0.4
WORD_LOSS = 0.3
VISIBLE = 0.4  # a part of this share of the image shows its words for certain
FRESH = 3  # new changed copies of each picture, on which accuracy and calibration are measured


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
        pixels, mirrored = self.pixels[chosen], self.mirrored[chosen]
        placed = torch.rand(len(chosen), 1, 1, 1, generator=rng) < PLACED
        return train_classifier.changed(torch.where(placed, pictures.moved(pixels, mirrored, rng), pixels), mirrored, rng)

    def drawn(self, chosen: Tensor, rng: torch.Generator) -> Tensor:
        """Copies as a perfect model of many styles would draw them, (B, 3, 64, 64)."""
        return pictures.moved(self.pixels[chosen], self.mirrored[chosen], rng)


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


def start(body: str, data: Data) -> tuple[Network, int]:
    """The network to train, and how many steps it has behind it: that of the weights file, or a new one."""
    torch.manual_seed(SEEDS[body])
    if weights(body).is_file():
        judge = Judge(body)
        if (list(judge.labels), list(judge.words)) != (data.labels, data.words):
            raise ValueError(f"{weights(body).name} knows other emoji or words: delete it to train a new judge.")
        return judge.network.train(), judge.steps
    network = Network(body, len(data.labels), len(data.words))
    torch.nn.init.constant_(network.words.bias, -4.0)
    return network, 0


def train(body: str, data: Data, steps: int = STEPS) -> tuple[Network, int]:
    """The network, trained for so many more steps but not calibrated, and all its steps."""
    network, before = start(body, data)
    network = network.to(memory_format=torch.channels_last)
    rng = torch.Generator().manual_seed(SEEDS[body] + before)
    rate = FURTHER_RATE if before else LEARNING_RATE
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps)
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
    return network.eval(), before + steps


def calibrate(network: Network, data: Data, rng: torch.Generator) -> None:
    """Set the temperatures that maximise the likelihood of new changed copies (Guo et al. 2017, arXiv 1706.04599)."""
    emoji, words, rows = fresh(network, data.changed, len(data.classes), rng)
    network.emoji_temperature *= train_classifier.calibrated(emoji, data.classes[rows])
    certain = 1 - data.doubtful[rows] * (1 - data.has[rows])
    candidates = torch.logspace(-1, 0.5, 60)
    losses = [binary_cross_entropy_with_logits(words / value, data.has[rows], weight=certain) for value in candidates]
    network.word_temperature *= candidates[torch.stack(losses).argmin()]


def fresh(network: Network, copies: Copies, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of emoji and words of ``FRESH`` new copies of each of ``count`` pictures, and the number of each copy's picture."""
    rows = torch.arange(count).repeat(FRESH)
    with torch.no_grad():
        found = [network(copies(part, rng))[1:] for part in rows.split(256)]
    return torch.cat([emoji for emoji, _ in found]), torch.cat([words for _, words in found]), rows


def figures(network: Network, data: Data, copies: Copies, rng: torch.Generator) -> dict[str, float]:
    """What the judge is worth on new copies.

    Returns:
        accuracy: share of copies whose emoji has the highest probability.
        calibration_error: expected calibration error of that probability in ten bins (Guo et al. 2017, Eq. 3).
        word_recall, word_precision: at probability 0.5, of words that are certain.
        least_word: mean over copies of the smallest probability among the words of the right caption.
    """
    emoji, words, rows = fresh(network, copies, len(data.classes), rng)
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
    for body in arguments.judges or BODIES:
        network, steps = train(body, data, arguments.steps)
        rng = torch.Generator().manual_seed(SEEDS[body] + 1000)
        calibrate(network, data, rng)
        found = figures(network, data, data.changed, rng)
        found |= {f"{name}_drawn": value for name, value in figures(network, data, data.drawn, rng).items()}
        about = {
            "labels": json.dumps(data.labels),
            "words": json.dumps(data.words),
            "data": json.dumps(pictures.packages(WORK)),
            "steps": str(steps),
        }
        about |= {name: f"{value:.4f}" for name, value in found.items()}
        tensors = {n: (t.half() if t.is_floating_point() else t).contiguous() for n, t in network.state_dict().items()}
        write(tensors, about, weights(body))
        print(f"{body}: {', '.join(f'{name} {value:.4f}' for name, value in found.items())}; wrote {weights(body).name}")


if __name__ == "__main__":
    main()
