"""Turns a model call that was seen into one that can be measured."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import comfy.samplers
from torch import Tensor

from ...uncertainty.noising import Noising, from_noise_scaling
from ...uncertainty.options import RunSettings
from ...uncertainty.parts import Parts
from . import attached
from .differentiation import fitting
from .model_call import Call
from .probe_options import with_prediction_of
from .seen_call import SeenCall
from .transfer import sent

log = logging.getLogger(__name__)

# ComfyUI also requires this multiple of its memory estimate to be free before it enlarges a batch.
MEMORY_MARGIN = 1.5

Predict = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class CallMaker:
    """The calls of one run.

    Args:
        settings: settings of the run.
        images: index of each image in its batch.

    Attributes:
        evaluations: number of extra evaluations of the model, by what asked for them.
        unprompted: whether a guider did not evaluate its positive prompt by itself.
    """

    def __init__(self, settings: RunSettings, images: Sequence[int]) -> None:
        self.settings = settings
        self.images = images
        self.evaluations: Counter[str] = Counter()
        self.unprompted = False

    def __call__(self, seen: SeenCall, parts: Parts, mask: Tensor | None) -> Call:
        """The call, for baselines, measurement and guidance.

        Args:
            seen: what passed by.
            parts: shapes of the latents that are sampled together.
            mask: where sampling may change the image, (B, 1, *spatial), or None for everywhere.
        """
        guider = seen.executor.class_obj
        scaling = guider.inner_model.model_sampling.noise_scaling
        predict = self._predictor(seen.executor, seen.options, seen.seed)
        x, timestep, denoised = (sent(tensor, seen.device) for tensor in (seen.x, seen.timestep, seen.denoised))

        def noising(levels: Tensor) -> Noising:
            # In main memory, where checking the coefficients makes nothing wait.
            return from_noise_scaling(scaling, levels).moved(partial(sent, device=seen.device))

        return Call(
            guider=guider,
            parts=parts,
            step=seen.step,
            number=seen.number,
            images=self.images if len(self.images) == len(x) else range(len(x)),
            x=x.float(),
            sigma=timestep.float().expand(len(x)),
            levels=seen.timestep.float().expand(len(x)),
            denoised=denoised.float(),
            noising=noising,
            predict=lambda z, sigma: predict(z.to(x), sigma.to(timestep)),
            probes_per_call=self._probes_per_call(guider, seen.options, x),
            predictions=seen.predictions,
            options=seen.options,
            mask=None if mask is None else sent(mask, x.device),
            evaluations=self.evaluations,
        )

    def _predictor(self, executor: Any, options: dict, seed: int | None) -> Predict:
        """Predicts the denoised image of probes and the one under the prompt alone.

        It bypasses all other wrappers, which must not see the probes.
        """
        guider = executor.class_obj
        positive = guider.conds.get("positive")

        def conditional(z: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            made = comfy.samplers.sampling_function(guider.inner_model, z, sigma, None, positive, 1.0, options, seed).float()
            return made, made

        def guided(z: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            caught: list[Tensor] = []
            made = executor.original(z, sigma, with_prediction_of(options, positive, caught), seed).float()
            if len(caught) != 1:
                self._note_unprompted(guider)
                return made, made
            return made, caught[0].float()

        return conditional if self.settings.options.score_source == "conditional" else guided

    def _note_unprompted(self, guider: Any) -> None:
        """Say once that there is no single prediction under the prompt alone, and what is taken instead."""
        if not self.unprompted:
            log.warning(
                "posterior_variance and denoising_loss are measured with the guided prediction, because %s does not evaluate its "
                "positive prompt by itself.",
                type(guider).__name__,
            )
        self.unprompted = True

    def _probes_per_call(self, guider: Any, options: dict, x: Tensor) -> int:
        """Number of probes of the batch per call of the model, at least one."""
        if self.settings.samples == 0 or not attached.joins_copies(guider, options, len(x)):
            return 1
        if self.settings.options.max_batch:
            return max(1, self.settings.options.max_batch // len(x))
        return fitting(guider, x, self.settings.samples, MEMORY_MARGIN)
