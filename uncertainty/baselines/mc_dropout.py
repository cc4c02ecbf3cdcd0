"""MC-Dropout: variance of the prediction while trained dropout layers stay active (Gal & Ghahramani 2016, arXiv 1506.02142)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..probes import Denoiser, score_probes
from .baseline import Baseline

BASELINE = Baseline(
    name="mc_dropout",
    label="MC-Dropout",
    meaning=(
        "Variance of the prediction with dropout switched on. High means unsure. Needs a model trained with dropout; most are "
        "not. Costs as much as the map."
    ),
    high_is_sure=False,
    switched=True,
    measured_by="turn mc_dropout on in Uncertainty Baselines",
)

LAYERS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def dropout_layers(networks: Iterable[nn.Module]) -> list[nn.Module]:
    """The dropout layers of the networks whose probability is above 0."""
    return [layer for network in networks for layer in network.modules() if isinstance(layer, LAYERS) and layer.p > 0]


@contextmanager
def active(layers: Sequence[nn.Module], seed: int, device: torch.device) -> Iterator[None]:
    """Activate dropout in these layers, with a random stream of its own, and restore everything afterwards."""
    devices = [] if device.type == "cpu" else [device]
    before = [layer.training for layer in layers]
    with torch.random.fork_rng(devices, device_type="cuda" if device.type == "cpu" else device.type):
        torch.manual_seed(seed)
        try:
            for layer in layers:
                layer.training = True
            yield
        finally:
            for layer, training in zip(layers, before, strict=True):
                layer.training = training


def mc_dropout(score: Denoiser, x: Tensor, sigma: Tensor, samples: int, passes_per_call: int | None = None) -> Tensor:
    """Unbiased variance of ``samples`` noise predictions at x, (B, C, *spatial). Call it inside ``active``.

    Args:
        score: noise prediction.
        x: noisy latents, (B, C, *spatial).
        sigma: noise levels, (B,).
        samples: M, at least 2.
        passes_per_call: number of passes per call of the network; None for all.
    """
    passes = score_probes(score, x.expand(samples, *x.shape), sigma, passes_per_call)
    return passes.var(0)
