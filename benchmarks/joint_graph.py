"""A plain implementation of the authors' method, to compare with: all probes and their variance in one graph."""

from typing import Any

import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from uncertainty.guidance import uncertain_elements
from uncertainty.noising import from_noise_scaling
from uncertainty.probes import probe_noise

from .pack_modules import pack


class JointGraph:
    """The peer: Algorithms 1 and 2 in one graph, in a wrapper around every model call.

    Args:
        window: the part of the run that is guided.
        steps: number of steps of the run.
        samples: number of probes.
    """

    def __init__(self, window: tuple[float, float], steps: int, samples: int) -> None:
        self.ordinary_weights = pack("nodes.hook.inference_weights").ordinary_weights
        self.window, self.steps, self.samples = window, steps, samples
        self.calls = 0

    def attach(self, model: Any) -> Any:
        """A clone of the model with the peer attached."""
        clone = model.clone()
        clone.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "joint", self._predict)
        return clone

    def _predict(self, executor: Any, x: Tensor, timestep: Tensor, options: dict, seed: int) -> Tensor:
        denoised = executor(x, timestep, options, seed)
        step, self.calls = self.calls, self.calls + 1
        if not self.window[0] <= step / self.steps < self.window[1]:
            return denoised
        guider = executor.class_obj
        noise = probe_noise(x.shape[1:], self.samples, seed or 0, step, 0, range(len(x))).to(x.device)
        with torch.inference_mode(False), torch.enable_grad(), self.ordinary_weights([guider.inner_model]):
            x, level = x.clone(), timestep.clone()
            noising = from_noise_scaling(guider.inner_model.model_sampling.noise_scaling, level)
            prediction = noising.noise_prediction(x, denoised.clone()).requires_grad_()
            perturbed = noising.renoise(x, prediction, noise.clone())
            levels = level.repeat(self.samples)
            again = executor(perturbed.flatten(0, 1), levels, options, seed).reshape(perturbed.shape)
            scores = (perturbed - noising.a * again) / noising.b
            uncertainty = scores.var(0)
            (gradient,) = torch.autograd.grad(uncertainty.sum(), prediction)
        chosen = uncertain_elements(uncertainty.detach(), 95)
        return torch.where(chosen, denoised - noising.b / noising.a * gradient, denoised)
