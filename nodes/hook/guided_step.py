"""Guides one model call of a run: chooses the elements, computes the gradient, and applies controls of experiments."""

from functools import partial
from typing import Any

from torch import Tensor

from ...uncertainty.estimation import Estimate
from ...uncertainty.estimators import ESTIMATORS
from ...uncertainty.gradients import KeptGraph, average_gradient
from ...uncertainty.guidance import inside, random_direction, random_elements, uncertain_elements, update
from ...uncertainty.options import RunSettings
from ...uncertainty.probes import Probes, packed_noise
from ...uncertainty.thresholds import Thresholds
from .differentiation import Differentiation
from .model_call import Call, stream
from .transfer import sent

CONTROL_STREAM = 0x636F6E74  # keeps the noise of control arms independent of the probes


class RunGuidance:
    """Guidance of one run.

    Args:
        settings: settings of the run.
        thresholds: per-step thresholds to use instead of the percentile.
    """

    def __init__(self, settings: RunSettings, thresholds: Thresholds | None) -> None:
        self.settings = settings
        self.thresholds = thresholds
        self.gradient = Differentiation(settings.options.gradient, settings.options.guided_quantity)
        self._average: Tensor | None = None

    def prepare(self, guider: Any) -> None:
        """Decide before sampling how to differentiate the model.

        Raises:
            ValueError: the required way is not possible, or the thresholds are of another quantity.
        """
        if self.thresholds is not None:
            for part in self.thresholds.parts:
                part.check_guides(self.settings.options.guided_quantity)
        self.gradient.prepare(guider)

    def measure(self, call: Call) -> tuple[Estimate, int, KeptGraph | None]:
        """The estimate for a model call, the number of probes per call of the model, and their graph if it was kept."""
        return self.gradient.measure(call, self.settings)

    def __call__(
        self, call: Call, measured: Estimate, denoised: Tensor, probes_per_call: int, kept: KeptGraph | None = None
    ) -> Tensor:
        """The guided x̂0' for a model call, (B, C, *spatial)."""

        def choose(uncertainty: Tensor) -> Tensor:
            return self._chosen(uncertainty, call)

        def differentiate(probes: Probes) -> Tensor:
            gradient = self.gradient(call.guider, call.score, probes, probes_per_call, kept)
            if not ESTIMATORS[self.settings.options.estimator].averages_gradient:
                return gradient
            self._average = average_gradient(self._average, gradient)
            return self._average

        def control(chosen: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
            return self._control(call, chosen, gradient)

        strength = self.settings.signed_strength
        options = self.settings.options
        controlled = control if options.control != "none" else None
        return update(denoised, measured, strength, choose, differentiate, controlled, options.guided_quantity).denoised

    def _chosen(self, uncertainty: Tensor, call: Call) -> Tensor:
        options = self.settings.options
        if self.thresholds is None:
            choose = partial(
                uncertain_elements, percentile=self.settings.percentile, scope=options.mask_scope, side=options.mask_side
            )
            return call.parts.each(choose, uncertainty, mask=call.mask)
        tau = self.thresholds.packed(call.step, call.parts, len(uncertainty)).to(uncertainty)
        chosen = uncertainty > tau if options.mask_side == "high" else uncertainty < tau
        return call.parts.each(inside, chosen, mask=call.mask)

    def _control(self, call: Call, chosen: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The elements and the gradient with which a control arm replaces the chosen ones."""
        apart = stream(self.settings.seed, CONTROL_STREAM)
        (noise,) = packed_noise(call.parts, 1, apart, call.step, call.number, call.images)
        drawn = sent(noise, call.x.device)
        if self.settings.options.control == "random_mask":
            return call.parts.each(random_elements, chosen, drawn, mask=call.mask), gradient
        return chosen, call.parts.each(random_direction, gradient, chosen, drawn)
