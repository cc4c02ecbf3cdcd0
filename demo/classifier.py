"""A judge of the demo model's images: a small network that recognises emoji, used as the ``Extractor`` of an evaluation.

Its classes are the captions of all pictures in the demo's data. It was trained only on changed versions of these pictures
(``train_classifier.py``), so that it judges likeness instead of memorised pixels. Use it with
``python -m uncertainty evaluate --features demo.classifier:judge``.
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
    """A residual block of two convolutions; the first can halve the size."""

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
    """Maps images (B, 3, 64, 64) in [-1, 1] to embeddings (B, 128) and logits (B, K)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        sizes = zip((3, *CHANNELS), CHANNELS, strict=False)
        self.body = nn.Sequential(*[Residual(before, after, 2) for before, after in sizes])
        self.embed = nn.Linear(CHANNELS[-1], EMBEDDING)
        self.classify = nn.Linear(EMBEDDING, classes)
        # Divides the logits. Set after training so that the probabilities are calibrated.
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, 128) and logits (B, K)."""
        hidden = self.body(images)
        embedding = self.embed(hidden.mean((2, 3)))
        return embedding, self.classify(silu(embedding)) / self.temperature


class Judge:
    """The trained network as an extractor: embeddings (B, 128) and logits (B, K); ``labels`` are the K captions."""

    name = "emoji classifier"

    def __init__(self, path: Path = WEIGHTS) -> None:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path.name} is missing from {path.parent}: create it with `python -m demo.train_classifier`."
            )
        with safe_open(path, framework="pt") as file:
            self.labels = tuple(json.loads(file.metadata()["labels"]))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        self.network = Classifier(len(self.labels))
        self.network.load_state_dict(tensors)
        self.network.eval()

    def __call__(self, images: Tensor) -> Features:
        """Features of images (B, 3, H, W), 0 to 1, which are resized to 64 pixels."""
        if images.shape[2:] != (SIZE, SIZE):
            images = interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
        with torch.inference_mode():
            embedding, logits = self.network(images * 2 - 1)
        return Features(embedding, logits)


def judge() -> Judge:
    """The judge with the weights that ship with the repository."""
    return Judge()
