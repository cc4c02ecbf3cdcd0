"""A judge of the demo model's images: a small network that names the emoji it sees, as the ``Extractor`` of an evaluation.

It knows every picture of the demo's data by its caption and was shown them only changed (``train_classifier.py``), so that it
judges likeness, not memorised pixels. ``demo.classifier:judge`` is what ``python -m uncertainty evaluate --features`` takes.
"""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from uncertainty.metrics.features import Features

WEIGHTS = Path(__file__).with_name("classifier.safetensors")
SIZE = 64
EMBEDDING = 128
CHANNELS = (32, 64, 128, 192)


class Residual(nn.Module):
    """Two convolutions beside a shortcut; the first may halve the size."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.norm_first = nn.GroupNorm(8, out)
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm_second = nn.GroupNorm(8, out)
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W)."""
        hidden = silu(self.norm_first(self.first(x)))
        return silu(self.norm_second(self.second(hidden)) + self.shortcut(x))


class Classifier(nn.Module):
    """Images (B, 3, 64, 64) in [-1, 1] to embedding (B, 128) and logits (B, K)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        sizes = zip((3, *CHANNELS), CHANNELS, strict=False)
        self.body = nn.Sequential(*[Residual(before, after, 2) for before, after in sizes])
        self.embed = nn.Linear(CHANNELS[-1], EMBEDDING)
        self.classify = nn.Linear(EMBEDDING, classes)
        # Logits are divided by it; set after training, so that a probability is as often right as it says.
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding and logits."""
        hidden = self.body(images)
        embedding = self.embed(hidden.mean((2, 3)))
        return embedding, self.classify(silu(embedding)) / self.temperature


class Judge:
    """The trained network as an extractor: embedding (B, 128), logits (B, K), ``labels`` the captions of the K pictures."""

    name = "emoji classifier"

    def __init__(self, path: Path = WEIGHTS) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path.name} is missing from {path.parent}: make it with `python -m demo.train_classifier`.")
        with safe_open(path, framework="pt") as file:
            self.labels = tuple(json.loads(file.metadata()["labels"]))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        self.network = Classifier(len(self.labels))
        self.network.load_state_dict(tensors)
        self.network.eval()

    def __call__(self, images: Tensor) -> Features:
        """Images (B, 3, H, W), 0 to 1, brought to 64 pixels."""
        if images.shape[2:] != (SIZE, SIZE):
            images = interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
        with torch.inference_mode():
            embedding, logits = self.network(images * 2 - 1)
        return Features(embedding, logits)


def judge() -> Judge:
    """The judge that ships with the repository."""
    return Judge()
