"""The baseline MC-Dropout in a sampling run."""

from typing import Any

import torch
from torch import Tensor

from ....uncertainty.baselines import mc_dropout
from ..model_call import Call, stream
from ..running_models import networks
from .summed_score import SummedScore

_STREAM = 0x64726F70  # keeps dropout masks independent of the probes of the map


class McDropout(SummedScore):
    """Variance over M passes with dropout."""

    name = mc_dropout.BASELINE.name
    layers: tuple[torch.nn.Module, ...] = ()

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Find the dropout layers; raise ValueError if there are none."""
        super().prepare(guider, schedule, window)
        self.layers = tuple(mc_dropout.dropout_layers(networks(guider)))
        if not self.layers:
            name = type(guider.inner_model.diffusion_model).__name__
            raise ValueError(
                f"mc_dropout needs a model that was trained with dropout, but {name} has no dropout layer with a rate above 0: "
                "turn mc_dropout off."
            )

    def measure(self, call: Call) -> Tensor:
        """Variance of M passes at the sampler's latents."""
        with mc_dropout.active(self.layers, stream(self.settings.seed, _STREAM, call.step), call.x.device):
            return mc_dropout.mc_dropout(call.score, call.x, call.sigma, self.settings.samples, call.probes_per_call)
