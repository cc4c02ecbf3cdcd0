"""Two judges of the test bed's images: networks of different architecture that name the emoji and the words that they see.

Both know all pictures of all styles, held-out ones included, and were trained on changed copies only (``train_judges.py``). The
emoji head tells how much an image looks like one emoji, in whatever style. The word head tells which words of captions are
visible, also where no emoji has them together: it saw joined halves of two pictures, with the words of both.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from demo.classifier import Residual
from uncertainty.metrics.features import Features

HERE = Path(__file__).parent
SIZE = 64
EMBEDDING = 128
# Part of every second caption, and hardly visible by itself.
UNSPECIFIC = frozenset({"face"})


class Convolutions(nn.Sequential):
    """Residual blocks, as the demo's classifier has them. Images (B, 3, 64, 64) to features (B, 160, 8, 8)."""

    width = 160

    def __init__(self) -> None:
        super().__init__(Residual(3, 32, 2), Residual(32, 64, 2), Residual(64, 112, 2), Residual(112, self.width, 1))


class Mixing(nn.Module):
    """A layer after ConvMixer (Trockman & Kolter 2022, arXiv 2201.09792): mixes places, then channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.places = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.channels = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, C, H, W)."""
        mixed: Tensor = x + self.channels(silu(self.norm(self.places(x))))
        return mixed


class Patches(nn.Sequential):
    """Layers that mix patches of 8x8 pixels. Images (B, 3, 64, 64) to features (B, 256, 8, 8)."""

    width = 256

    def __init__(self) -> None:
        layers = [Mixing(self.width) for _ in range(7)]
        super().__init__(nn.Conv2d(3, self.width, 8, 8), *layers, nn.BatchNorm2d(self.width), nn.SiLU())


BODIES = {"convolutions": Convolutions, "patches": Patches}
"""The architecture of each judge, by its name."""


class Network(nn.Module):
    """A body with two heads. Maps images (B, 3, 64, 64) in [-1, 1] to embeddings (B, 128) and logits (B, K) and (B, W)."""

    def __init__(self, body: str, emoji: int, words: int) -> None:
        super().__init__()
        self.body = BODIES[body]()
        self.embed = nn.Linear(self.body.width, EMBEDDING)
        self.emoji = nn.Linear(EMBEDDING, emoji)
        self.words = nn.Conv2d(self.body.width, words, 1)
        # Divide the logits. Set after training so that the probabilities are calibrated.
        self.register_buffer("emoji_temperature", torch.ones(()))
        self.register_buffer("word_temperature", torch.ones(()))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings, logits of emoji, logits of words: a word counts where it is seen best (a smooth maximum over places)."""
        seen = self.body(images)
        embedding = self.embed(seen.mean((2, 3)))
        places = self.words(seen).float().flatten(2)
        words = places.logsumexp(2) - torch.log(torch.tensor(float(places.shape[2])))
        return embedding, self.emoji(silu(embedding)) / self.emoji_temperature, words / self.word_temperature


class Judge:
    """A trained network as an extractor of features; ``labels`` are the names of the K emoji, ``words`` the W words."""

    def __init__(self, body: str, path: Path | None = None) -> None:
        path = path or weights(body)
        if not path.is_file():
            raise FileNotFoundError(f"{path.name} is missing from {path.parent}: create it with `make train-judges`.")
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.name, self.steps = f"{body} judge", int(about["steps"])
        self.labels, self.words = (tuple(json.loads(about[key])) for key in ("labels", "words"))
        self.network = Network(body, len(self.labels), len(self.words))
        self.network.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in tensors.items()})
        self.network.eval()

    def seen(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (B, 128), probabilities of the emoji (B, K), which add up to 1, and of the words (B, W), each 0 to 1.

        Args:
            images: (B, 3, H, W), 0 to 1; resized to 64 pixels.
        """
        if images.shape[2:] != (SIZE, SIZE):
            images = interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
        with torch.inference_mode():
            embedding, emoji, words = self.network(images * 2 - 1)
        return embedding, emoji.softmax(1), words.sigmoid()

    def __call__(self, images: Tensor) -> Features:
        """Features of images (B, 3, H, W), 0 to 1, for ``python -m uncertainty evaluate``: the logarithms of probabilities."""
        embedding, emoji, _ = self.seen(images)
        return Features(embedding, emoji.log())

    def confidence(self, emoji: Tensor, words: Tensor, names: Sequence[str], content: Sequence[str]) -> Tensor:
        """How sure it is that images show what a prompt asks for, (B,), 0 to 1.

        Args:
            emoji: probabilities (B, K) of the emoji.
            words: probabilities (B, W) of the words.
            names: the emoji that the prompt asks for; their probabilities are added.
            content: the prompt's words, used where no emoji is asked for: the least visible one decides.
        """
        if names:
            return emoji[:, [self.labels.index(name) for name in names]].sum(1)
        columns = [self.words.index(word) for word in content if word not in UNSPECIFIC]
        return words[:, columns].min(1).values

    def sees(self, images: Tensor, names: Sequence[str], content: Sequence[str]) -> Tensor:
        """``confidence`` in images (B, 3, H, W), 0 to 1."""
        _, emoji, words = self.seen(images)
        return self.confidence(emoji, words, names, content)


def weights(body: str) -> Path:
    """The file of a judge's weights."""
    return HERE / f"judge_{body}.safetensors"


def convolutions() -> Judge:
    """The judge with residual blocks, for ``--features testbed.judges:convolutions``."""
    return Judge("convolutions")


def patches() -> Judge:
    """The judge that sees patches, for ``--features testbed.judges:patches``."""
    return Judge("patches")
