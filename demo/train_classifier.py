"""Train the judge of ``classifier.py``: ``python -m demo.train_classifier``, about 15 minutes on two cores.

All 440 pictures are classes, including the held-out ones. Each is rotated, moved, scaled, mirrored (except flags), changed in
colour and brightness, blurred, and shown with noise and a hole.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, cross_entropy, grid_sample

from . import data
from .classifier import WEIGHTS, Classifier

WORK = Path(__file__).parent / ".train"
STEPS, BATCH, LEARNING_RATE, SEED = 4000, 64, 2e-3, 5
FRESH = 20  # new changed copies of each picture, on which accuracy and temperature are measured


def changed(pixels: Tensor, mirrored: Tensor, rng: torch.Generator) -> Tensor:
    """Change pictures (B, 3, 64, 64) in [-1, 1] on white, each at random."""
    count = len(pixels)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=rng)

    angle, scale = uniform(-0.25, 0.25), uniform(0.85, 1.25)
    flip = torch.where(mirrored & (torch.rand(count, generator=rng) < 0.5), -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = scale * torch.cos(angle) * flip, -scale * torch.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = scale * torch.sin(angle) * flip, scale * torch.cos(angle)
    theta[:, :, 2] = uniform(-0.15, 0.15, 2)
    grid = affine_grid(theta, list(pixels.shape), align_corners=False)
    image = grid_sample(pixels - 1, grid, align_corners=False) + 1
    image = image * uniform(0.8, 1.15, 1, 1, 1) + uniform(-0.12, 0.12, 3, 1, 1)
    soft = avg_pool2d(image, 3, 1, 1, count_include_pad=False)
    image = torch.lerp(image, soft, uniform(0.0, 1.0, 1, 1, 1))
    image = image + uniform(0.0, 0.15, 1, 1, 1) * torch.randn(image.shape, generator=rng)
    rows = torch.arange(image.shape[2])[None, :, None]
    columns = torch.arange(image.shape[3])[None, None, :]
    top, left, side = uniform(0, 48, 1, 1), uniform(0, 48, 1, 1), uniform(0, 20, 1, 1)
    hole = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return torch.where(hole[:, None], uniform(-1, 1, 3, 1, 1), image).clamp(-1, 1)


def train(steps: int = STEPS, seed: int = SEED) -> tuple[Classifier, list[str], float]:
    """The trained network, its labels, and its accuracy on new changed copies."""
    pictures = data.load(data.download(WORK))
    pixels = torch.stack([picture.pixels for picture in pictures])
    mirrored = torch.tensor([picture.mirrored for picture in pictures])
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    network = Classifier(len(pictures))
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
    began = time.monotonic()
    for step in range(steps):
        chosen = torch.randint(len(pictures), (BATCH,), generator=rng)
        _, logits = network(changed(pixels[chosen], mirrored[chosen], rng))
        loss = cross_entropy(logits, chosen, label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            right = float((logits.argmax(1) == chosen).float().mean())
            print(f"step {step + 1}: loss {float(loss):.3f}, accuracy {right:.2f}, {time.monotonic() - began:.0f} s", flush=True)
    network.eval()
    with torch.no_grad():
        logits = torch.cat([network(changed(pixels, mirrored, rng))[1] for _ in range(FRESH)])
    truth = torch.arange(len(pictures)).repeat(FRESH)
    network.temperature.fill_(calibrated(logits, truth))
    return network, [" ".join(picture.words) for picture in pictures], float((logits.argmax(1) == truth).float().mean())


def calibrated(logits: Tensor, truth: Tensor) -> float:
    """The temperature that maximises the likelihood of the true classes (Guo et al. 2017, arXiv 1706.04599)."""
    candidates = torch.logspace(-1, 0.5, 200)
    losses = torch.stack([cross_entropy(logits / temperature, truth) for temperature in candidates])
    return float(candidates[losses.argmin()])


def main() -> None:
    """Train the judge and write its weights in half precision."""
    from .train import write

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    network, labels, accuracy = train(arguments.steps)
    tensors = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    about = {"labels": json.dumps(labels), "accuracy": f"{accuracy:.4f}", "data": data.NOTO.package}
    write(tensors, about, WEIGHTS)
    print(f"accuracy on changed copies {accuracy:.1%}; temperature {float(network.temperature):.2f}; wrote {WEIGHTS.name}")


if __name__ == "__main__":
    main()
