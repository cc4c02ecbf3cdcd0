"""Distances between distributions, against torchmetrics and closed forms."""

import pytest
import torch
from torch import Tensor, nn

from dev.launcher import mend_torchvision
from uncertainty.metrics.distances import frechet_distance, kernel_distance, precision_recall, principal
from uncertainty.metrics.features import EfficientNetLite0, extractor


@pytest.fixture(autouse=True)
def torchvision() -> None:
    """Torchmetrics and torch-fidelity import it."""
    mend_torchvision()


def drawn(count: int, seed: int, shift: float = 0.0) -> Tensor:
    """Correlated features (count, 6)."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(6, 6, generator=torch.Generator().manual_seed(99))
    return torch.randn(count, 6, generator=rng) @ mixing + shift


class AsTheyAre(nn.Module):
    """Features in the place of images."""

    num_features = 6

    def forward(self, features: Tensor) -> Tensor:
        return features


def test_frechet_distance_is_torchmetrics() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    real, generated = drawn(300, 0), drawn(200, 1, 0.3)
    oracle = FrechetInceptionDistance(feature=AsTheyAre())
    oracle.set_dtype(torch.float64)
    oracle.update(real.double(), real=True)
    oracle.update(generated.double(), real=False)
    assert frechet_distance(real, generated) == pytest.approx(float(oracle.compute()), rel=1e-6)


def test_frechet_distance_of_a_shift_is_its_square() -> None:
    real = drawn(300, 0)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(real, real + 0.5) == pytest.approx(6 * 0.25, rel=1e-6)


def test_kernel_distance_has_no_bias() -> None:
    values = [kernel_distance(drawn(60, seed), drawn(60, seed + 500)) for seed in range(60)]
    scale = torch.tensor(values).std() / len(values) ** 0.5
    assert abs(sum(values) / len(values)) < 3 * float(scale)
    assert kernel_distance(drawn(60, 0), drawn(60, 1, 2.0)) > 5 * float(torch.tensor(values).std())


def test_precision_is_of_the_generated_and_recall_of_the_real() -> None:
    real = torch.cat([drawn(100, 0), drawn(100, 1, 50.0)])
    half = drawn(100, 2)
    precision, recall = precision_recall(real, half)
    assert precision > 0.7
    assert 0.3 < recall < 0.6


def test_principal_components_keep_what_varies() -> None:
    real = torch.randn(50, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 3.0, 1e-3, 1e-3, 1e-3]) + 7
    project = principal(real, 2)
    assert project(real).shape == (50, 2)
    torch.testing.assert_close(project(real).var(0).sum(), real.double().var(0).sum(), rtol=1e-5, atol=0)
    with pytest.raises(ValueError, match="dimensions must be between 1 and 5, got 6"):
        principal(real, 6)


def test_efficientnet_sees_the_same_at_another_size() -> None:
    network = extractor("efficientnet-lite0")
    assert isinstance(network, EfficientNetLite0)
    image = torch.rand(1, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(image, (224, 224), mode="bilinear", align_corners=False)
    small, seen, other = (network(i).embedding for i in (image, large, large.flip(3)))
    assert seen.shape == (1, 1280)
    torch.testing.assert_close(small, seen, rtol=1e-3, atol=1e-3)
    assert (seen - other).abs().max() > 0.1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("resnet", "features must be efficientnet-lite0, inception-v3=FILE or package.module:name, got resnet"),
        ("inception-v3=none.pth", "none.pth is not a file: give inception-v3=FILE"),
        ("no.such:thing", "no.such:thing cannot be imported as package.module:name"),
        ("math:nothing", "math:nothing cannot be imported as package.module:name"),
    ],
)
def test_unknown_features_are_named(spec: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        extractor(spec)


def test_the_judge_knows_the_demos_pictures_when_they_are_changed() -> None:
    from demo import data, train_classifier

    judge = extractor("demo.classifier:judge")
    assert len(judge.labels) == 440
    if not (train_classifier.WORK / data.NOTO.file).is_file():
        pytest.skip("the training pictures were not fetched: make evidence fetches them")
    pictures = data.load(train_classifier.WORK / data.NOTO.file)[::9]
    pixels = torch.stack([picture.pixels for picture in pictures])
    mirrored = torch.tensor([picture.mirrored for picture in pictures])
    seen = judge((train_classifier.changed(pixels, mirrored, torch.Generator().manual_seed(77)) + 1) / 2)
    assert seen.logits is not None and seen.embedding.shape == (len(pictures), 128)
    right = [judge.labels[i] == " ".join(p.words) for i, p in zip(seen.logits.argmax(1).tolist(), pictures, strict=True)]
    assert sum(right) >= 0.95 * len(right)
