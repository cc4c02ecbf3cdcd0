"""What images look like to a network: embeddings for distances between distributions, and logits where it classifies."""

from typing import NamedTuple, Protocol

from torch import Tensor


class Features(NamedTuple):
    """Of B images: embedding (B, D), and logits (B, K) where the network has classes."""

    embedding: Tensor
    logits: Tensor | None = None


class Extractor(Protocol):
    """Anything that turns images (B, 3, H, W), 0 to 1, into features. ``labels`` name the K classes, or are empty."""

    name: str
    labels: tuple[str, ...]

    def __call__(self, images: Tensor) -> Features:
        """Embedding, and logits if it has any, of images."""
        ...
