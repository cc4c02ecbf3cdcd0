"""A ComfyUI model whose network is the closed-form solution for mixture data, with ComfyUI's own parameterisations."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from closed_forms import Mixture
from real_models import Loaded, conditioning

SHAPE = (4, 2, 2)
DIM = 16
PARAMETERISATIONS = ("exploding", "flow")


class SolvedNetwork(torch.nn.Module):
    """The network that training on the mixture would approach: ε for ``exploding``, the velocity for ``flow``."""

    def __init__(self, mixture: Mixture, parameterisation: str) -> None:
        super().__init__()
        self.parameterisation = parameterisation
        self.dtype = torch.float32
        # Buffers, so that autograd reaches them as it reaches weights.
        for name in ("means", "covariances", "weights"):
            self.register_buffer(name, getattr(mixture, name))

    def forward(self, x: Tensor, timestep: Tensor, context: Tensor | None = None, **_: Any) -> Tensor:
        """Predict, after undoing ComfyUI's scaling of the latent and the noise level."""
        mixture = Mixture(self.means, self.covariances, self.weights)
        assert (timestep == timestep[0]).all()
        if self.parameterisation == "flow":
            level = float(timestep[0]) / 1000
            return ((x - mixture.denoised(x, 1 - level, level)) / level).to(x)
        level = float((timestep[0].double() / 0.25).exp())
        noisy = x.double() * (level**2 + 1) ** 0.5
        return ((noisy - mixture.denoised(noisy, 1, level)) / level).to(x)


class PromptedNetwork(torch.nn.Module):
    """A closed-form solution for each prompt: zeros, ones, twos."""

    def __init__(self, data: Sequence[Mixture], parameterisation: str) -> None:
        super().__init__()
        self.dtype = torch.float32
        self.networks = torch.nn.ModuleList([SolvedNetwork(mixture, parameterisation) for mixture in data])

    def forward(self, x: Tensor, timestep: Tensor, context: Tensor, **_: Any) -> Tensor:
        """ComfyUI may evaluate both prompts in one call."""
        made = torch.stack([network(x, timestep) for network in self.networks])
        return made[context.mean((1, 2)).round().long(), torch.arange(len(x))]


def prompt(value: float) -> Any:
    """A prompt of equal numbers."""
    return [[torch.full((1, 4, 4), value), {}]]


def solved_with_prompts(data: Sequence[Mixture], parameterisation: str) -> Loaded:
    """The model whose data depend on the prompt. Its positive prompt is ones, its negative one zeros."""
    loaded = solved(data[1], parameterisation)
    loaded.model.model.diffusion_model = PromptedNetwork(data, parameterisation)
    return replace(loaded, positive=prompt(1.0), negative=prompt(0.0))


def solved(mixture: Mixture, parameterisation: str) -> Loaded:
    """The model. Call in inference mode. Prompts have no effect on it."""
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models_base
    from comfy_extras.nodes_model_advanced import ModelSamplingContinuousEDM

    flow = parameterisation == "flow"
    config = comfy.supported_models_base.BASE({"in_channels": SHAPE[0], "disable_unet_model_creation": True})
    model_type = comfy.model_base.ModelType.FLOW if flow else comfy.model_base.ModelType.EPS
    model = comfy.model_base.BaseModel(config, model_type)
    model.diffusion_model = SolvedNetwork(mixture, parameterisation)
    cpu = torch.device("cpu")
    patcher = comfy.model_patcher.ModelPatcher(model.eval(), cpu, cpu)
    if not flow:
        # Continuous noise levels: from a table of a thousand the network would receive the nearest one.
        (patcher,) = ModelSamplingContinuousEDM().patch(patcher, "eps", sigma_max=20.0, sigma_min=0.02)
    return Loaded(patcher, *(conditioning(1, 4, 4, seed) for seed in (1, 2)), lambda n: {"samples": torch.zeros(n, *SHAPE)})
