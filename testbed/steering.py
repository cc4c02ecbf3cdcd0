"""Ways to steer a sampling run of ComfyUI, for experiments: guidance of a fixed size, self-guidance, and restarts of a region.

They run in this process and outside inference mode. An evaluation is one prediction of an image, with and without its prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import comfy.samplers
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from uncertainty.estimation import Estimate, estimate
from uncertainty.estimators import mean_over_elements
from uncertainty.gradients import average_gradient, exact_gradient
from uncertainty.guidance import percentile_per_image, uncertain_elements, update
from uncertainty.noising import Noising, from_noise_scaling, per_image
from uncertainty.probes import Probes, probe_noise
from uncertainty.restart import restarted

SAMPLES = 5
ESTIMATOR = "filtered"

# Keep the noise of controls and of restarts independent of the probes.
CONTROL_STREAM, RESTART_STREAM, REGION_STREAM = 1 << 40, 2 << 40, 3 << 40

# Evaluations of an exact gradient for each probe: one that is differentiated, and the backward pass, which takes about two.
GRADIENT_EVALUATIONS = 3

# Width of the spots of a random region, in elements.
SPOT = 9


class Steering(Protocol):
    """Changes the x̂0 of a run call by call. Made anew for each run."""

    first: int
    """The first step that it changes."""

    def __call__(self, guider: "Steered", step: int, x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
        """The x̂0 that the sampler gets, (B, C, *spatial)."""
        ...


@dataclass(frozen=True)
class Start:
    """The first calls of the unguided run.

    Attributes:
        predicted: x̂0 of each.
        computed: what has been measured at these calls, shared by all runs that start like this.
    """

    predicted: Sequence[Tensor] = ()
    computed: dict[tuple[str, int], Any] = field(default_factory=dict)


class Steered(comfy.samplers.CFGGuider):
    """A CFG guider that lets a steering change each x̂0.

    Args:
        model: ComfyUI's MODEL.
        positive: prompt.
        negative: negative prompt.
        cfg: CFG scale.
        steering: None leaves every x̂0 as it is.
        start: the start of the unguided run from the same noise, which is not computed again.
        seed: seed of the probes.

    Attributes:
        predicted: the model's x̂0 of each call.
        evaluations: evaluations of each image, those of ``start`` included.
        scores: what a restart measured, before and after: (B,) by quantity.
    """

    def __init__(
        self, model: Any, positive: Any, negative: Any, cfg: float, steering: Steering | None, start: Start, seed: int
    ) -> None:
        super().__init__(model)
        self.set_conds(positive, negative)
        self.set_cfg(cfg)
        self.steering, self.start, self.seed = steering, start, seed
        self.predicted: list[Tensor] = []
        self.evaluations = 0
        self.scores: list[dict[str, Tensor]] = []

    def predict_noise(self, x: Tensor, timestep: Tensor, model_options: Any = None, seed: Any = None) -> Tensor:
        """One call by the sampler."""
        step = len(self.predicted)
        denoised = self.start.predicted[step] if step < len(self.start.predicted) else self.predict(x, timestep)[0]
        self.predicted.append(denoised)
        self.evaluations += 1
        return denoised if self.steering is None else self.steering(self, step, x, timestep, denoised)

    def predict(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """x̂0 after CFG, and under the prompt alone."""
        conds = [self.conds["positive"], self.conds["negative"]]
        positive, negative = comfy.samplers.calc_cond_batch(self.inner_model, conds, x, sigma, self.model_options)
        return negative + self.cfg * (positive - negative), positive

    def noising(self, sigma: Tensor) -> Noising:
        """Coefficients of a noise level."""
        return from_noise_scaling(self.inner_model.model_sampling.noise_scaling, sigma)

    def score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Noise prediction after CFG."""
        return self.both(x, sigma)[0]

    def both(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Noise predictions after CFG and under the prompt alone."""
        guided, prompted = (self.noising(sigma).noise_prediction(x, denoised) for denoised in self.predict(x, sigma))
        return guided, prompted

    def measure(self, step: int, x: Tensor, sigma: Tensor, denoised: Tensor) -> Estimate:
        """The quantities at a call on the path of the unguided run, or after it."""
        evaluations = self.evaluations + SAMPLES
        found: Estimate = self._once("measured", step, lambda: self.measured(step, x, sigma, denoised))
        self.evaluations = evaluations
        return found

    def measured(self, step: int, x: Tensor, sigma: Tensor, denoised: Tensor) -> Estimate:
        """The quantities at a call that no other run has made, with the probes of a step."""
        self.evaluations += SAMPLES
        noise = probe_noise(x.shape[1:], SAMPLES, self.seed, step, 0, range(len(x)), orthogonally=True)
        center = self.noising(sigma).noise_prediction(x, denoised)
        return estimate(
            self.score, x, sigma, noising=self.noising, noise=noise, orthogonal=True, center=center, both=self.both,
            estimator=ESTIMATOR,
        )  # fmt: skip

    def gradient(self, step: int, probes: Probes, quantity: str) -> Tensor:
        """The exact gradient of a quantity at a call."""
        self.evaluations += GRADIENT_EVALUATIONS * SAMPLES
        found: Tensor = self._once(quantity, step, lambda: exact_gradient(self.score, probes, SAMPLES, quantity))
        return found

    def _once(self, name: str, step: int, compute: Callable[[], Any]) -> Any:
        """What is computed on the path of the unguided run is the same for all runs that share it."""
        if step >= len(self.start.predicted):
            return compute()
        if (name, step) not in self.start.computed:
            self.start.computed[name, step] = compute()
        return self.start.computed[name, step]

    def noise(self, stream: int, step: int, x: Tensor) -> Tensor:
        """Standard normal noise like x that is independent from stream to stream."""
        return probe_noise(x.shape[1:], 1, self.seed ^ stream, step, 0, range(len(x)))[0]


@dataclass
class Guidance:
    """Guidance whose update has the same size for every image, step and quantity, so that only its direction and place differ.

    Where it guides, Δε has the root mean square ``size``. The noise itself has 1.

    Attributes:
        steps: the guided steps.
        quantity: the quantity that is followed and chooses the elements.
        size: negative descends.
        percentile: as in the nodes.
        random: follow a random direction instead.
    """

    steps: range
    quantity: str
    size: float
    percentile: float = 95.0
    random: bool = False
    average: Tensor | None = None

    def __post_init__(self) -> None:
        """Note the root mean squares that the gradients have before they are rescaled."""
        self.first = self.steps.start
        self.lengths: list[Tensor] = []

    def __call__(self, guider: Steered, step: int, x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
        """The guided x̂0."""
        if step not in self.steps:
            return denoised
        measured = guider.measure(step, x, sigma, denoised)
        chosen = uncertain_elements(measured.quantities[self.quantity], self.percentile)

        def differentiate(probes: Probes) -> Tensor:
            if self.random:
                direction = guider.noise(CONTROL_STREAM, step, x)
            else:
                gradient = guider.gradient(step, probes, self.quantity)
                direction = self.average = average_gradient(self.average, gradient)
            length = _rms(direction, chosen)
            self.lengths.append(length)
            return direction / per_image(length, x.ndim)

        return update(denoised, measured, self.size, lambda _: chosen, differentiate, quantity=self.quantity).denoised


def _rms(values: Tensor, chosen: Tensor) -> Tensor:
    """Root mean square over the chosen elements of each image, (B,)."""
    counts = chosen.flatten(1).sum(1).clamp(min=1)
    return (torch.where(chosen, values, 0).square().flatten(1).sum(1) / counts).sqrt().clamp(min=1e-30)


@dataclass
class SelfGuidance:
    """SG-prev (Li et al., arXiv 2412.05827): move x̂0 away from the x̂0 of the step before, ``x̂0_t + w·(x̂0_t - x̂0_{t-1})``.

    On the path of an Euler sampler this equals their form in noise predictions or velocities, with the same w.
    """

    weight: float
    first: int = 1

    def __call__(self, guider: Steered, step: int, x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
        """The guided x̂0."""
        return denoised if step == 0 else denoised + self.weight * (denoised - guider.predicted[step - 1])


Region = Callable[[Steered, int, Tensor, Estimate], Tensor]
"""The elements that restart, boolean (B, 1, *spatial), from the guider, the step, x and what was measured there."""


@dataclass(frozen=True)
class MeasuredRegion:
    """The places where a quantity, averaged over the channels, is above a percentile (``high``) or below it (``low``)."""

    quantity: str
    percentile: float
    side: str = "high"

    def __call__(self, guider: Steered, step: int, x: Tensor, measured: Estimate) -> Tensor:
        """The region."""
        values = measured.quantities[self.quantity].mean(1, keepdim=True)
        return uncertain_elements(values, self.percentile, side=self.side)


@dataclass(frozen=True)
class RandomRegion:
    """As many places in spots, anywhere."""

    percentile: float

    def __call__(self, guider: Steered, step: int, x: Tensor, measured: Estimate) -> Tensor:
        """The region."""
        values = avg_pool2d(guider.noise(REGION_STREAM, step, x)[:, :1], SPOT, 1, SPOT // 2)
        return values > per_image(percentile_per_image(values, self.percentile), x.ndim)


def everything(guider: Steered, step: int, x: Tensor, measured: Estimate) -> Tensor:
    """A region that covers each image."""
    return torch.ones_like(x[:, :1], dtype=torch.bool)


def _scores(measured: Estimate) -> dict[str, Tensor]:
    """The mean of each quantity over the elements of an image, (B,)."""
    return {name: mean_over_elements(values, None) for name, values in measured.quantities.items()}


@dataclass(frozen=True)
class Restart:
    """Euler's method that goes back once, in a region of the image, and measures before and after.

    Attributes:
        low: the step at which the region is chosen and noised again.
        high: the step that it goes back to.
        region: chooses it.
    """

    low: int
    high: int
    region: Region

    def sampler(self, guider: Steered) -> comfy.samplers.KSAMPLER:
        """ComfyUI's SAMPLER for one run of a guider."""

        def sample(
            model: Any, x: Tensor, sigmas: Tensor, extra_args: dict | None = None, callback: Any = None, disable: Any = None
        ) -> Tensor:
            def predict(x: Tensor, step: int) -> Tensor:
                denoised: Tensor = model(x, sigmas[step].expand(len(x)), **(extra_args or {}))
                return denoised

            def moved(x: Tensor, step: int, denoised: Tensor) -> Tensor:
                return x + (x - denoised) / sigmas[step] * (sigmas[step + 1] - sigmas[step])

            path: list[Tensor] = []
            for step in range(len(sigmas) - 1):
                path.append(x)
                denoised = predict(x, step)
                if step == self.low:
                    sigma = sigmas[step].expand(len(x))
                    before = guider.measure(step, x, sigma, denoised)
                    region = self.region(guider, step, x, before)
                    low, high = (guider.noising(sigmas[level : level + 1]) for level in (self.low, self.high))
                    x = restarted(x, path[self.high], region, low, high, guider.noise(RESTART_STREAM, step, x))
                    for again in range(self.high, self.low):
                        x = torch.where(region, moved(x, again, predict(x, again)), path[again + 1])
                    denoised = predict(x, step)
                    after = guider.measured(step, x, sigma, denoised)
                    guider.scores = [_scores(before), _scores(after)]
                x = moved(x, step, denoised)
            return x

        return comfy.samplers.KSAMPLER(sample)
