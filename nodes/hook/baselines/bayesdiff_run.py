"""The baseline BayesDiff in a sampling run."""

from typing import Any

import torch
from torch import Tensor

from ....uncertainty.baselines import bayesdiff
from ....uncertainty.baselines.laplace import output_variance
from ....uncertainty.estimators import mean_over_elements
from ....uncertainty.options import RunSettings
from .. import last_layer
from ..model_call import Call, stream
from ..packing import packed_shapes

_STREAM = 0x62617965


class BayesDiff:
    """Variance of the image due to uncertain weights of the last layer, propagated along the sampler's steps.

    With every sampler, variance is propagated by Euler steps between the noise levels of the schedule.
    """

    name = "bayesdiff"

    def __init__(self, settings: RunSettings) -> None:
        if settings.options.laplace is None:
            raise ValueError("bayesdiff needs a Laplace approximation: connect Fit Laplace to Uncertainty Baselines.")
        self.settings = settings
        self.laplace = settings.options.laplace
        self.schedule = torch.empty(0)
        self.variance: Tensor | None = None
        self.mask: Tensor | None = None
        self.last = -1

    def prepare(self, guider: Any, schedule: Tensor, window: range) -> None:
        """Find the last layer; raise ValueError if it differs from the fitted one or the prompts are not supported."""
        if packed_shapes(guider):
            raise ValueError("bayesdiff does not support latents of several parts, such as video with sound: disconnect laplace.")
        self.schedule, self.guider = schedule, guider
        self.layer = last_layer.LastLayer(guider.inner_model.diffusion_model)
        weight = self.layer.module.weight
        if self.layer.name != self.laplace.layer or weight.shape != self.laplace.weight.shape:
            raise ValueError(
                f"laplace was fitted to {self.laplace.layer} {tuple(self.laplace.weight.shape)}, but this model has "
                f"{self.layer.name} {tuple(weight.shape)}: fit it to this model."
            )
        if not {"positive"} <= set(guider.conds) <= {"positive", "negative"}:
            raise ValueError(
                f"bayesdiff needs one positive and at most one negative prompt, but {type(guider).__name__} has "
                f"{', '.join(guider.conds)}: disconnect laplace."
            )

    def evaluates(self, step: int) -> bool:
        """One step out of five carries variance."""
        return step % bayesdiff.EVERY == 0 and step + 1 < len(self.schedule)

    def observe(self, call: Call) -> None:
        """Propagate variance in one step out of five."""
        if not self.evaluates(call.step) or call.step <= self.last:
            return
        self.last, self.mask = call.step, call.mask
        sigma = float(call.levels.max())
        step = self.schedule[call.step + 1].to(call.x) - sigma
        if self.variance is None:
            self.variance = torch.zeros_like(call.x)

        def derivative(x: Tensor) -> Tensor:
            return (x - call.level.denoised(x, call.score(x, call.sigma))) / sigma

        covariance = torch.zeros_like(call.x)
        if bool(self.variance.any()):
            generator = torch.Generator().manual_seed(stream(self.settings.seed, _STREAM, call.step))
            noise = torch.randn(bayesdiff.DRAWS, *call.x.shape, generator=generator).to(call.x)
            covariance = bayesdiff.covariance(derivative, call.x, self.variance, noise)
        self.variance = bayesdiff.carried(self.variance, covariance, self._derivative_variance(call) / sigma**2, step)

    def _derivative_variance(self, call: Call) -> Tensor:
        """Variance of the guided denoised image, (B, C, *spatial), at the sampler's latents.

        Both predictions of CFG share the weights, so the same combination of the linear layer's inputs gives the guided variance.
        """
        model, conds = self.guider.inner_model, self.guider.conds
        scale = float(self.guider.cfg) if self.settings.options.score_source == "guided" else 1.0
        parts = [(conds["positive"], scale)]
        if scale != 1 and "negative" in conds:
            parts.append((conds["negative"], 1 - scale))
        guided: Tensor | float = 0.0
        for cond, weight in parts:
            with self.layer.inputs() as seen:
                last_layer.single(model, cond, call.options)(call.x, call.sigma)
            if len(seen) != 1 or len(seen[0]) != len(call.x):
                raise ValueError("bayesdiff does not support prompts for parts of the image: disconnect laplace.")
            guided = guided + weight * seen[0].float()
        call.count(1)
        positive = last_layer.single(model, conds["positive"], call.options)
        tail = self.layer.tail(positive, call.x[:1], call.sigma[:1])
        laplace = self.laplace.to(call.x.device)
        return tail.variance(output_variance(self.layer.module, laplace, torch.as_tensor(guided)))

    def scores(self) -> list[Tensor]:
        """Mean variance over the elements of each image, (B,)."""
        return [] if self.variance is None else [mean_over_elements(self.variance, self.mask).cpu()]

    def map(self) -> Tensor | None:
        """Variance of the image, (B, C, *spatial)."""
        if self.variance is None or self.mask is None:
            return self.variance
        return torch.where(self.mask > 0, self.variance, 0)
