"""The hook into ComfyUI's sampling: wrappers around samplers and model calls.

``UncertaintyRun`` holds the state of one sampling run. Attached to a clone of the model, it wraps every model call, records the
steps of its window and returns a guided x̂0. ``every_sampling`` creates a run for each sampling of a model.

A run that only measures keeps the model calls of its window and probes when the image is finished: whatever is attached to the
model cannot notice the probes before, and an error in measuring costs the map, never the image. What costs no evaluation, such as
the drift, is taken from the calls as they pass by.
"""

import copy
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ... import uncertainty
from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.noising import from_noise_scaling
from ...uncertainty.options import RunSettings
from ...uncertainty.parts import plain
from ...uncertainty.quantities import DEFAULT_QUANTITY
from ...uncertainty.recorder import Recorder
from ...uncertainty.room import Room
from ...uncertainty.settings import guiding
from ...uncertainty.thresholds import Thresholds
from . import attached, baselines
from .call_maker import CallMaker
from .guided_step import RunGuidance
from .live_preview import with_map
from .map_room import room_for
from .measurement import measure
from .model_call import Call
from .model_identity import model_digest, prompt_digest
from .moment import Moment
from .other_runs import attached_runs, say_if_measured_again
from .packing import parts_of
from .probe_options import KEY, with_predictions, without_state
from .run_maps import RunMaps
from .seen_call import SeenCall
from .step_count import StepCount

log = logging.getLogger(__name__)

# Key of the wrapper around all other wrappers of the sampler.
AROUND = f"{KEY}_around"


class UncertaintyRun:
    """Measures and guides one sampling run.

    Args:
        settings: settings of the run.
        images: index of each image in its batch, so that an image keeps its probes when it is sampled alone.
        described: more settings that the node stores with the map.
        thresholds: per-step thresholds to use instead of the percentile.
        records: whether to record maps; otherwise the run only guides.
        room: where maps are kept; None for as much room as the options allow.
    """

    def __init__(
        self,
        settings: RunSettings,
        images: Sequence[int],
        described: Mapping[str, Any],
        thresholds: Thresholds | None = None,
        *,
        records: bool = True,
        room: Room | None = None,
    ) -> None:
        self.settings = settings
        self.images = tuple(images)
        self.described = described
        self.thresholds = thresholds
        self.records = records
        self.given_room = room
        self.room = room or Room()
        self.maps = RunMaps(plain(()), 0, [Recorder(settings.options.keep_maps, 0)])
        self.call_of = CallMaker(settings, self.images)
        self.calls: Counter[int] = Counter()
        self.schedule = torch.empty(0)
        self.steps = StepCount(self.schedule)
        self.kept: deque[tuple[Moment, SeenCall]] = deque()
        self.waits = settings.strength == 0
        self.failure = ""
        self.window_steps = range(0)
        self.family = ""
        self.model = ""
        self.prompt = ""
        self.guidance = RunGuidance(settings, thresholds)
        self.guided_by: list[UncertaintyRun] = []
        self.shown: Tensor | None = None
        self.baselines = baselines.baselines_of(settings)

    def attach(self, model: ModelPatcher) -> ModelPatcher:
        """A clone of the model with this run attached."""
        clone = model.clone()
        self._add_to(clone.wrappers)
        return clone

    def attach_to_guider(self, guider: Any) -> Any:
        """A copy of the guider with this run attached to its model; the original guider is unchanged."""
        copied = copy.copy(guider)
        copied.model_patcher = self.attach(guider.model_patcher)
        return copied

    def attach_to_options(self, model_options: dict) -> None:
        """Attach this run to the model options of one sampling, which must not be shared with others."""
        self._add_to(model_options.setdefault("transformer_options", {}).setdefault("wrappers", {}))

    def _add_to(self, wrappers: dict[str, dict]) -> None:
        """Add this run to wrappers by kind and key, of which the first is the outermost."""
        others = dict(wrappers.get(WrappersMP.SAMPLER_SAMPLE, {}))
        outside, inside = others.pop(AROUND, []), others.pop(KEY, [])
        # Inside, so that the schedule is the one that the sampler gets. Around, so that nothing happens to the image afterwards.
        around = {AROUND: [self._around_sampler, *outside]}
        wrappers[WrappersMP.SAMPLER_SAMPLE] = around | others | {KEY: [*inside, self._sample]}
        wrappers.setdefault(WrappersMP.PREDICT_NOISE, {}).setdefault(KEY, []).append(self._predict_noise)

    def uncertainty_map(self) -> UncertaintyMap:
        """The map of the recorded steps and of the whole run; something must have been measured."""
        return self.maps.uncertainty_map(self._all_settings(), self.images)

    @property
    def has_map(self) -> bool:
        """Whether anything was measured."""
        return not self.failure and bool(self.maps.steps or (self.settings.samples == 0 and self.maps.of_run()))

    def why_no_map(self, sampler: str) -> str:
        """Why nothing was measured with this sampler, and what to do."""
        if self.failure:
            return self.failure
        if self.settings.samples == 0:
            return "samples is 0, and a run without CFG of so few steps has nothing that costs no time. Set samples to 5."
        return (
            "no model call fell inside the window. Check which steps are sampled, window_start and window_end, or use a sampler "
            f"other than {sampler}."
        )

    def _all_settings(self) -> dict[str, Any]:
        """The settings needed to reproduce the map; call it after sampling has started."""
        options = self.settings.options
        return {
            "samples": self.settings.samples,
            "estimator": options.estimator,
            "quantity": DEFAULT_QUANTITY,
            "strength": self.settings.strength,
            "percentile": self.settings.percentile,
            "window": [self.settings.window.start, self.settings.window.end],
            "gradient": self.guidance.gradient.used if self.settings.strength else options.gradient,
            "guided_quantity": options.guided_quantity,
            "direction": options.direction,
            "mask_scope": options.mask_scope,
            "mask_side": options.mask_side,
            "score_source": options.score_source,
            **({"prompted_by": "guided"} if self.call_of.unprompted else {}),
            "control": options.control,
            **({"summed_steps": self.maps.steps} if options.keep_maps == "sum" else {}),
            **({"guided_by": [guiding(run._all_settings()) for run in self.guided_by]} if self.guided_by else {}),
            "seed": self.settings.seed,
            "prompt": self.prompt,
            "model": self.model,
            "model_family": self.family,
            "total_steps": len(self.schedule) - 1,
            "evaluations": dict(self.call_of.evaluations),
            "pack_version": uncertainty.__version__,
            **self.described,
        }

    def check_reached(self, guider: str, steps: int) -> None:
        """After a sampling of so many steps: whether the guider let this run see its model calls.

        If it did not, a run that only measures has no map.

        Raises:
            ValueError: the image should have been guided.
        """
        silent = bool(self.steps.silent.intersection(self.window_steps))
        if steps < 1 or self.calls or (self.steps.calls and not silent):
            return
        who = f"{guider}, or a step cache, answers" if self.steps.calls else f"{guider} calls the model"
        if self.settings.strength != 0:
            raise ValueError(
                f"strength must be 0, because {who} past the hooks that guide, and the image would not be guided: set strength "
                "to 0, or use another guider, such as CFGGuider."
            )
        self.failure = f"{who} past the hooks that measure. Use another guider, such as CFGGuider."

    def _around_sampler(self, executor: Callable[..., Tensor], guider: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Wraps everything that happens to the sampler: probes the calls that were kept when all of it is over."""
        sampled = executor(guider, *args, **kwargs)
        self.check_reached(type(guider).__name__, self.steps.total)
        if self.settings.strength != 0 and self.window_steps and not self.calls:
            log.warning("uncertainty guidance changed nothing, because no model call fell inside the window.")
        while self.kept and not self.failure:
            self._measure_kept(*self.kept.popleft())
        self._say_what_is_on_disk()
        return sampled

    def _say_what_is_on_disk(self) -> None:
        options = self.settings.options
        if self.room.on_disk and options.keep_maps != "on_disk":
            log.info(
                "map_memory (%d MB) is too little for the maps and the latents that wait for them: %d MB went to the disk, into "
                "ComfyUI's temporary folder.", options.map_memory, self.room.on_disk >> 20,
            )  # fmt: skip

    def _measure_kept(self, moment: Moment, seen: SeenCall) -> None:
        try:
            with moment.restored():
                self._handle(seen)
        except Exception as error:
            self._lose_map(error)

    def _lose_map(self, error: Exception) -> None:
        """Note why there is no map, unless the user interrupted the run."""
        if isinstance(error, comfy.model_management.InterruptProcessingException):
            raise error
        log.error("measuring uncertainty failed; the image is not affected.", exc_info=error)
        self.failure = f"measuring it failed: {error or type(error).__name__}"

    def _sample(
        self,
        executor: Callable[..., Tensor],
        guider: Any,
        sigmas: Tensor,
        extra_args: dict,
        callback: Any,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        """Wraps the sampler: stores its schedule, and raises errors before sampling if the run cannot be measured."""
        self.schedule = sigmas.detach().float().cpu()
        self.steps = StepCount(self.schedule)
        self.calls.clear()
        self.kept.clear()
        self.family = type(guider.inner_model.model_sampling).__bases__[-1].__name__
        self.window_steps = self.settings.window.steps(self.steps.total)
        self._look_at_runs(attached_runs(extra_args["model_options"]))
        self._prepare(guider, sigmas, noise, denoise_mask)
        self._look_around(guider, extra_args["model_options"])
        if self.settings.options.live_preview:
            callback = with_map(callback, guider, lambda: self.shown, self.maps.first)
        return executor(guider, sigmas, extra_args, self._reporting(callback), noise, latent_image, denoise_mask, disable_pbar)

    def _reporting(self, callback: Callable[..., None] | None) -> Callable[..., None]:
        """The sampler's step callback, which also counts its steps."""

        def called(step: int, *args: Any, **kwargs: Any) -> None:
            self.steps.report(int(step))
            if callback is not None:
                callback(step, *args, **kwargs)

        return called

    def _look_at_runs(self, runs: "Sequence[UncertaintyRun]") -> None:
        """Note which others of these runs guide what this one measures; the first says in the log if several measure it."""
        if self.records:
            self.guided_by = [run for run in runs if run is not self and run.settings.strength != 0]
        if runs[:1] == [self]:
            say_if_measured_again(runs, self.steps.total)

    def _look_around(self, guider: Any, model_options: dict) -> None:
        """Decide when to probe, and name in the log what else is attached to the model and could notice probes."""
        live, guides = self.settings.options.live_preview, self.settings.strength != 0
        others = attached.foreign(guider, without_state(model_options))
        self.waits = not guides and (not live or bool(others))
        names = ", ".join(others)
        if others and guides:
            log.warning(
                "uncertainty guidance calls the model between the sampler's own calls, and %s takes part in these calls. If it "
                "keeps state from call to call, as step caches do, remove it or set strength to 0.",
                names,
            )
        elif others and live:
            log.warning("live_preview shows no map, because %s could notice probes during sampling.", names)

    def _prepare(self, guider: Any, sigmas: Tensor, noise: Tensor, denoise_mask: Tensor | None) -> None:
        """Look at what is sampled; raise ValueError if it cannot be measured or guided."""
        options = self.settings.options
        self.room = self.given_room or room_for(options)
        parts = parts_of(guider, noise.shape)
        recorders = [Recorder(options.keep_maps, len(self.window_steps), self.room) for _ in parts.shapes]
        mask = None if denoise_mask is None else denoise_mask[:, :1].float().cpu()
        self.maps = RunMaps(parts, self.steps.total, recorders, mask, self.baselines)
        self.model = model_digest(guider.inner_model)
        self.prompt = prompt_digest(guider.original_conds)
        self._check(guider, sigmas, noise)
        if self.maps.masked_out:
            if self.records:
                raise ValueError("the noise mask is empty, so there is nothing to sample or measure: use another mask, or none.")
            self.window_steps = range(0)  # a tile outside the mask is not guided

    def _check(self, guider: Any, sigmas: Tensor, noise: Tensor) -> None:
        if self.settings.options.score_source == "conditional" and "positive" not in guider.conds:
            raise ValueError(
                f"score_source conditional needs a positive prompt, but {type(guider).__name__} has none: set it to guided."
            )
        if self.thresholds is not None:
            for number in self.maps.parts.numbers:
                self.thresholds.part(number).check(self._all_settings())
        for baseline in self.baselines:
            baseline.prepare(guider, self.schedule, self.window_steps)
        for step in self.window_steps:
            from_noise_scaling(guider.inner_model.model_sampling.noise_scaling, self.schedule[step : step + 1])
            if self.thresholds is not None:
                self.thresholds.packed(step, self.maps.parts, len(noise))
        if self.settings.strength != 0:
            self.guidance.prepare(guider)

    def _predict_noise(
        self, executor: Any, x: Tensor, timestep: Tensor, model_options: dict | None = None, seed: int | None = None
    ) -> Tensor:
        """Wraps one model call: returns x̂0, guided if strength is not 0, and measures or keeps the call."""
        model_options = model_options or {}
        predictions: list[Tensor] = []
        observed = with_predictions(model_options, predictions) if self.baselines else model_options
        denoised: Tensor = executor(x, timestep, observed, seed)
        try:
            levels = timestep.detach().cpu()
            step = self.steps.step(levels)
            if self.failure:
                return denoised
            if self.records:
                self.maps.drift.see(step, denoised)
            if not self.window_steps and self.settings.samples:
                return denoised
            measures = self._measures(step)
            seen = SeenCall(
                executor, x, levels, without_state(model_options), seed, step, self.calls[step], denoised, predictions,
                measures, self.baselines, x.device,
            )  # fmt: skip
            if measures:
                self.calls[step] += 1
            return self._keep(seen) if self.waits else self._handle(seen)
        except Exception as error:
            if self.settings.strength != 0:
                raise
            self._lose_map(error)
            return denoised

    def _measures(self, step: int) -> bool:
        """Whether the next call of this step is probed: in a run that only measures, the first one."""
        probed = self.settings.samples > 0 and step in self.window_steps
        return probed and (self.settings.strength != 0 or not self.calls[step])

    def _keep(self, seen: SeenCall) -> Tensor:
        """Keep a call until the image is finished, if it will evaluate the model; return its x̂0."""
        waiting = [baseline for baseline in self.baselines if baseline.evaluates(seen.step)]
        looking = [baseline for baseline in self.baselines if baseline not in waiting]
        if looking:
            self._handle(replace(seen, measures=False, baselines=looking))
        if seen.measures or waiting:
            self.kept.append((Moment.of(seen.executor.class_obj), seen.copied(waiting, self.room)))
        return seen.denoised

    def _handle(self, seen: SeenCall) -> Tensor:
        """Let the baselines observe a call, and measure it; return its x̂0, guided if strength is not 0."""
        if not seen.measures and not seen.baselines:
            return seen.denoised
        call = self.call_of(seen, self.maps.parts, self.maps.mask)
        for baseline in seen.baselines:
            baseline.observe(call.asked_by(baseline.name))
        return self._measure(call, seen.denoised) if seen.measures else seen.denoised

    def _measure(self, call: Call, denoised: Tensor) -> Tensor:
        """Measure and record a call; return the guided x̂0', or ``denoised`` if strength is 0."""
        guides, kept = self.settings.strength != 0, None
        if guides:
            measured, probes_per_call, kept = self.guidance.measure(call)
        else:
            measured, probes_per_call = measure(call, self.settings)
        if self.settings.options.live_preview:
            self.shown = self.maps.shown(call, measured)
        if self.records and call.step not in self.maps.steps:
            self.maps.record(call, measured, self.settings.options.estimator)
        return self.guidance(call, measured, denoised, probes_per_call, kept) if guides else denoised
