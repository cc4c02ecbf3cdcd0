"""How good an image is, measured without uncertainty: its likeness to real pictures of the prompt, and a classifier.

Quality measures are higher for better images. Each is named after what it measures: none of them is quality itself.
"""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from uncertainty.metrics.features import Extractor, imported
from uncertainty.storage.atomic import write_whole
from uncertainty.storage.picture_files import PICTURES, has_picture_name
from uncertainty.storage.records import ImageRecord
from uncertainty.storage.text_files import read_text

AT_ONCE = 64


@dataclass(frozen=True)
class Reference:
    """Real pictures and their captions, which are the text files beside them, or else their file names."""

    paths: tuple[Path, ...]
    captions: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path) -> "Reference":
        """All pictures of a folder.

        Raises:
            ValueError: it has none.
        """
        paths = tuple(sorted(path for path in folder.iterdir() if has_picture_name(path) and path.is_file()))
        if not paths:
            raise ValueError(f"reference: {folder} has no pictures ({', '.join(PICTURES)}).")
        captions = []
        for path in paths:
            text = path.with_suffix(".txt")
            captions.append((read_text(text) if text.is_file() else path.stem.replace("_", " ")).strip().lower())
        return cls(paths, tuple(captions))


@dataclass(frozen=True)
class Judged:
    """What a network says of N images: their embedding (N, D), and quality measures (N,) by name."""

    embedding: Tensor
    qualities: dict[str, Tensor]


def pixels(path: Path) -> Tensor:
    """Pixels of a picture, (3, H, W), 0 to 1."""
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"), np.float32) / 255).permute(2, 0, 1)


def features(paths: Sequence[Path], extractor: Extractor, cache: Path) -> tuple[Tensor, Tensor | None]:
    """Embeddings (N, D) of pictures, and logits (N, K) if the network has them; kept in the file ``cache``."""
    # Names alone would not do: a picture that was damaged is generated again under its name.
    about = [(path.name, path.stat()) for path in paths]
    files = np.array([f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in about])
    if cache.is_file():
        with np.load(cache) as kept:
            if "files" in kept and np.array_equal(kept["files"], files):
                return torch.from_numpy(kept["embedding"]), torch.from_numpy(kept["logits"]) if "logits" in kept else None
    parts = [extractor(batch) for batch in _batches(paths)]
    embedding = torch.cat([part.embedding.float().cpu() for part in parts])
    logits = [part.logits.float().cpu() for part in parts if part.logits is not None]
    arrays: dict[str, Any] = {"files": files, "embedding": embedding.numpy()}
    if logits:
        arrays["logits"] = torch.cat(logits).numpy()
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_whole(cache, content.getvalue())
    return embedding, torch.cat(logits) if logits else None


def judge(images: Sequence[ImageRecord], extractor: Extractor, reference: Reference, folder: Path) -> tuple[Judged, Tensor]:
    """What a network says of images, and its embedding (R, D) of the reference pictures.

    ``likeness`` is minus the distance, in the embedding, to the nearest reference picture whose caption the prompt names (to the
    nearest of all if it names none). ``confidence`` is the probability of the labels that the prompt names, where the network has
    labels.
    """
    name = re.sub(r"\W+", "-", extractor.name)
    embedding, logits = features([image.path for image in images], extractor, folder / "features" / f"{name}.npz")
    real, _ = features(reference.paths, extractor, folder / "features" / f"{name}-reference.npz")
    prompts = [image.prompt or "" for image in images]
    qualities = {"likeness": -nearest(embedding, real, prompts, reference.captions)}
    if logits is not None and extractor.labels:
        confidence = named_probability(logits.softmax(1), prompts, extractor.labels)
        if confidence is not None:
            qualities["confidence"] = confidence
    return Judged(embedding, qualities), real


def reward(images: Sequence[ImageRecord], specs: Sequence[str]) -> dict[str, Tensor]:
    """Values (N,) that the user's own judges give to N images, by name.

    Args:
        images: N images.
        specs: ``package.module:name`` of functions of pictures (B, 3, H, W), 0 to 1, and their B prompts.
    """
    rewards = {}
    for spec in specs:
        judging, start, parts = imported(spec), 0, []
        for batch in _batches([image.path for image in images]):
            prompts = [image.prompt or "" for image in images[start : start + len(batch)]]
            start += len(batch)
            parts.append(torch.as_tensor(judging(batch, prompts)).float().cpu())
        rewards[spec.rpartition(":")[2]] = torch.cat(parts)
    return rewards


def nearest(embedding: Tensor, real: Tensor, prompts: Sequence[str], captions: Sequence[str]) -> Tensor:
    """Distance (N,) of each embedding (N, D) to the nearest of ``real`` (R, D) that its prompt names, or of all."""
    distances = torch.empty(len(embedding))
    for prompt in dict.fromkeys(prompts):
        rows = torch.tensor([index for index, text in enumerate(prompts) if text == prompt])
        meant = named(prompt, captions)
        distances[rows] = torch.cdist(embedding[rows], real[meant] if meant else real).min(1).values
    return distances


def named_probability(probabilities: Tensor, prompts: Sequence[str], labels: Sequence[str]) -> Tensor | None:
    """Probability (N,) of the labels that each prompt names, out of (N, K); None if some prompt names none."""
    meant = {prompt: named(prompt, labels) for prompt in dict.fromkeys(prompts)}
    if not all(meant.values()):
        return None
    return torch.stack([row[meant[prompt]].sum() for row, prompt in zip(probabilities, prompts, strict=True)])


def named(prompt: str, texts: Sequence[str]) -> list[int]:
    """Indices of the texts that a prompt names: those with the same words, or else those that contain all its words."""
    words = _words(prompt)
    exact = [index for index, text in enumerate(texts) if _words(text) == words]
    return exact or [index for index, text in enumerate(texts) if words and words <= _words(text)]


def prompt_numbers(images: Sequence[ImageRecord]) -> Tensor:
    """Number of each image's prompt, (N,); prompts are numbered in the order in which they first occur."""
    numbers: dict[str | None, int] = {}
    return torch.tensor([numbers.setdefault(image.prompt, len(numbers)) for image in images])


def total_variation(image: Tensor) -> float:
    """Mean absolute difference of neighbouring pixels of (3, H, W): a measure of how busy an image is."""
    return float(image.diff(dim=1).abs().mean() + image.diff(dim=2).abs().mean())


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _batches(paths: Sequence[Path]) -> Iterator[Tensor]:
    """Pictures in order, stacked (B, 3, H, W) as long as they have the same size."""
    waiting: list[Tensor] = []
    for path in paths:
        picture = pixels(path)
        if waiting and (len(waiting) == AT_ONCE or waiting[0].shape != picture.shape):
            yield torch.stack(waiting)
            waiting = []
        waiting.append(picture)
    if waiting:
        yield torch.stack(waiting)
