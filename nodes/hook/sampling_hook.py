"""The one place where this pack meets ComfyUI's sampling: wrappers, guiders, inference mode and memory.

``UncertaintyRun`` holds the state of one sampling run. Attached to a clone of the model it is called around every model call,
records the steps of its window and hands back a guided x̂0. ``guide_every_sampling`` makes one for each sampling of a model.
"""

import copy
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.samplers
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key
from torch import Tensor

from ... import uncertainty
from ...uncertainty.estimators import ORTHOGONAL, Estimate, estimate, standard_errors
from ...uncertainty.gradients import average_gradient
from ...uncertainty.guidance import guided_denoised, inside, random_direction, random_elements, uncertain_elements
from ...uncertainty.maps import DEFAULT_QUANTITY, UncertaintyMap
from ...uncertainty.noising import Noising, from_noise_scaling
from ...uncertainty.options import RunSettings
from ...uncertainty.probes import probe_noise
from ...uncertainty.recorder import Recorder
from ...uncertainty.thresholds import Thresholds
from ...uncertainty.window import step_of
from ..experiments import baseline_runs
from . import model_call
from .differentiation import Differentiation, OutOfMemory, fitting
from .live_preview import with_map

KEY = "uncertainty"
CONTROL_STREAM = 0x636F6E74  # keeps what a control arm draws apart from the probes

log = logging.getLogger(__name__)

# Samplers (*_cfg_pp) and other packs (SAG, APG) keep state in these hooks, read from the last call. They must not see the probes.
STATEFUL_HOOKS = (
    "sampler_pre_cfg_function",
    "sampler_cfg_function",
    "sampler_post_cfg_function",
    "sampler_calc_cond_batch_function",
    "disable_cfg1_optimization",
)

# ComfyUI's own step caches, by the key of their wrappers: they would answer a probe from the cache and then remember the probe.
CACHES = ("easycache", "lazycache")

# ComfyUI itself wants this much more than its estimate before it batches more.
MEMORY_MARGIN = 1.5


class UncertaintyRun:
    """Measures and guides one sampling run.

    Args:
        settings: of the run.
        images: index of each image in its batch, so that an image keeps its probes when it is sampled alone.
        described: what the node knows about the run, to travel with the map.
        thresholds: per-step thresholds instead of the percentile.
        records: keep the maps; without, the run only guides.
    """

    def __init__(
        self,
        settings: RunSettings,
        images: Sequence[int],
        described: Mapping[str, Any],
        thresholds: Thresholds | None = None,
        *,
        records: bool = True,
    ) -> None:
        self.settings = settings
        self.images = tuple(images)
        self.described = described
        self.thresholds = thresholds
        self.records = records
        self.recorded = Recorder(settings.options.keep_maps, 0)
        self.calls: dict[int, int] = {}
        self.schedule = torch.empty(0)
        self.window_steps = range(0)
        self.mask: Tensor | None = None
        self.family = ""
        self.model = ""
        self.prompt = ""
        self.gradient = Differentiation(settings.options.gradient)
        self.averaged: Tensor | None = None
        self.shown: Tensor | None = None
        self.baselines = baseline_runs.baselines_of(settings)
        self.predictions: list[Tensor] = []
        self.measuring = "map"
        self.evaluations: Counter[str] = Counter()

    def attach(self, model: ModelPatcher) -> ModelPatcher:
        """A clone of the model that this run is hooked into."""
        clone = model.clone()
        for kind, wrapper in self._wrappers():
            clone.add_wrapper_with_key(kind, KEY, wrapper)
        return clone

    def attach_to_guider(self, guider: Any) -> Any:
        """A copy of the guider with such a clone; the given one may be sampled again, without this run."""
        attached = copy.copy(guider)
        attached.model_patcher = self.attach(guider.model_patcher)
        return attached

    def attach_to_options(self, model_options: dict) -> None:
        """Hook this run into the options of a sampling that is about to start, made for that sampling alone."""
        for kind, wrapper in self._wrappers():
            add_wrapper_with_key(kind, KEY, wrapper, model_options, is_model_options=True)

    def _wrappers(self) -> tuple[tuple[str, Callable[..., Tensor]], ...]:
        wrappers = (WrappersMP.SAMPLER_SAMPLE, self._sample), (WrappersMP.PREDICT_NOISE, self._predict_noise)
        return (*wrappers, (WrappersMP.CALC_COND_BATCH, self._calc_cond_batch)) if self.baselines else wrappers

    def uncertainty_map(self) -> UncertaintyMap:
        """The recorded steps as one map; there must be one."""
        return UncertaintyMap(
            **self.recorded.parts(),
            total_steps=len(self.schedule) - 1,
            mask=self.mask,
            settings=self._all_settings(),
            baselines=baseline_runs.scores(self.baselines),
        )

    def _all_settings(self) -> dict[str, Any]:
        """What it takes to reproduce the map, once the schedule is known."""
        options = self.settings.options
        return {
            "samples": self.settings.samples,
            "estimator": options.estimator,
            "quantity": DEFAULT_QUANTITY,
            "strength": self.settings.strength,
            "percentile": self.settings.percentile,
            "window": [self.settings.window.start, self.settings.window.end],
            "gradient": self.gradient.used if self.settings.strength else options.gradient,
            "direction": options.direction,
            "mask_scope": options.mask_scope,
            "mask_side": options.mask_side,
            "score_source": options.score_source,
            "control": options.control,
            **({"summed_steps": self.recorded.steps} if options.keep_maps == "sum" else {}),
            "seed": self.settings.seed,
            "prompt": self.prompt,
            "model": self.model,
            "model_family": self.family,
            "total_steps": len(self.schedule) - 1,
            "evaluations": dict(self.evaluations),
            "pack_version": uncertainty.__version__,
            **self.described,
        }

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
        """Around the sampler: learn the schedule and refuse what cannot be measured before time is spent on it."""
        self.schedule = sigmas.detach().float().cpu()
        sampling = guider.inner_model.model_sampling
        self.family = type(sampling).__bases__[-1].__name__
        self.window_steps = self.settings.window.steps(len(self.schedule) - 1)
        folder = Path(folder_paths.get_temp_directory()) / KEY
        self.recorded = Recorder(self.settings.options.keep_maps, len(self.window_steps), folder)
        self.model = fingerprint(guider.inner_model)
        self.prompt = prompt_digest(guider.original_conds)
        if self.settings.options.score_source == "conditional" and "positive" not in guider.conds:
            raise ValueError(
                f"score_source conditional needs a positive prompt, which {type(guider).__name__} has not: use guided."
            )
        if self.thresholds is not None:
            self.thresholds.check(self._all_settings())
        for baseline in self.baselines:
            baseline.prepare(guider, self.schedule, self.window_steps)
        for step in self.window_steps:
            from_noise_scaling(sampling.noise_scaling, sigmas[step : step + 1].float())
            if self.thresholds is not None:
                self.thresholds.at(step, noise.shape)
        if self.settings.strength != 0:
            self.gradient.prepare(guider)
        if denoise_mask is not None:
            self.mask = denoise_mask[:, :1].float().cpu()
            if not bool(self.mask.any()):
                if self.records:
                    raise ValueError("the noise mask is empty: nothing would be sampled, so nothing can be measured.")
                self.window_steps = range(0)  # a tile outside the mask is passed by
        if self.settings.options.live_preview:
            callback = with_map(callback, guider, lambda: self.shown)
        return executor(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar)

    def _calc_cond_batch(self, executor: Callable[..., list[Tensor]], *args: Any) -> list[Tensor]:
        """Around the predictions of all prompts in one call: keep them for the baselines."""
        self.predictions = executor(*args)
        return self.predictions

    def _predict_noise(
        self, executor: Any, x: Tensor, timestep: Tensor, model_options: dict | None = None, seed: int | None = None
    ) -> Tensor:
        """Around one model call: ``denoised``, recorded if its step still lacks a record, guided if strength is not 0."""
        model_options = model_options or {}
        self.predictions = []
        denoised = executor(x, timestep, model_options, seed)
        predictions = self.predictions
        if not self.window_steps:
            return denoised
        step = step_of(float(timestep.max()), self.schedule)
        guided = self.settings.strength != 0
        measures = step in self.window_steps and (guided or step not in self.recorded)
        if not measures and not self.baselines:
            return denoised

        guider = executor.class_obj
        scaling = guider.inner_model.model_sampling.noise_scaling
        options = _without_state(model_options)
        predict = self._predictor(executor, options, seed)

        def noising(sigma: Tensor) -> Noising:
            return from_noise_scaling(scaling, sigma)

        mask = None if self.mask is None else self.mask.to(x.device)

        def score(z: Tensor, sigma: Tensor) -> Tensor:
            comfy.model_management.throw_exception_if_processing_interrupted()
            self._count(len(z) // len(x))
            if mask is not None:
                # What sampling may not change stays as it is: some video models are given their known frames without noise.
                free, known = (t.repeat(len(z) // len(x), *[1] * (z.ndim - 1)) for t in (mask > 0, x))
                z = torch.where(free, z, known.to(z))
            return noising(sigma).noise_prediction(z, predict(z.to(x), sigma.to(timestep)).float())

        sigma = timestep.float().expand(len(x))
        batches = self._probes_per_call(guider, x)
        observed = model_call.Call(
            step, x.float(), sigma, denoised.float(), noising, score, batches, predictions, options, self._count, mask
        )
        for baseline in self.baselines:
            self.measuring = baseline.name
            baseline.observe(observed)
        self.measuring = "map"
        if not measures:
            return denoised
        guided_score = self.settings.options.score_source == "guided"
        center = noising(sigma).noise_prediction(x.float(), denoised.float()) if guided_score else score(x.float(), sigma)
        call = self.calls.get(step, 0)
        self.calls[step] = call + 1
        estimator = self.settings.options.estimator
        stream = (self.settings.samples, self.settings.seed, step, call, self._indices(len(x)))
        noise = probe_noise(x.shape[1:], *stream, orthogonally=estimator in ORTHOGONAL)

        def measure(probes_per_call: int) -> Estimate:
            return estimate(
                score,
                x.float(),
                sigma,
                noising=noising,
                noise=noise.to(x.device),
                orthogonal=estimator in ORTHOGONAL,
                center=center,
                estimator=estimator,
                mask=mask,
                probes_per_call=probes_per_call,
            )

        measured = None
        try:
            measured = measure(batches)
        except OutOfMemory:
            if batches == 1:
                raise
            log.warning("measuring uncertainty ran out of memory with %d probes a call and goes on with one.", batches)
        if measured is None:  # out of the handler: the exception would keep the failed call's activations
            comfy.model_management.soft_empty_cache()
            batches = 1
            measured = measure(batches)
        if self.settings.options.live_preview:
            shown = measured.quantities[DEFAULT_QUANTITY]
            self.shown = shown if mask is None else torch.where(mask > 0, shown, 0)
        if self.records and step not in self.recorded:
            self._record(step, measured, mask)
        if not guided:
            return denoised
        chosen = self._chosen(measured.quantities["score_variance"], step, mask)
        if not bool(chosen.any()):
            return denoised
        gradient = self.gradient(guider, score, measured.probes, batches)
        if estimator == "filtered":
            gradient = self.averaged = average_gradient(self.averaged, gradient)
        if self.settings.options.control != "none":
            apart = model_call.stream(self.settings.seed, CONTROL_STREAM)
            (drawn,) = probe_noise(x.shape[1:], 1, apart, step, call, self._indices(len(x))).to(x.device)
            if self.settings.options.control == "random_mask":
                chosen = random_elements(chosen, drawn, mask)
            else:
                gradient = random_direction(gradient, chosen, drawn)
        return guided_denoised(denoised, measured.probes.noising, chosen, gradient, self.settings.signed_strength)

    def _count(self, evaluations: int) -> None:
        self.evaluations[self.measuring] += evaluations

    def _predictor(self, executor: Any, options: dict, seed: int | None) -> Callable[[Tensor, Tensor], Tensor]:
        """``denoised`` for probes, past the other wrappers of this call: none of them may see the probes."""
        guider = executor.class_obj
        if self.settings.options.score_source == "guided":
            return lambda z, sigma: executor.original(z, sigma, options, seed)
        positive = guider.conds["positive"]
        return lambda z, sigma: comfy.samplers.sampling_function(guider.inner_model, z, sigma, None, positive, 1.0, options, seed)

    def _indices(self, count: int) -> Sequence[int]:
        return self.images if len(self.images) == count else range(count)

    def _probes_per_call(self, guider: Any, x: Tensor) -> int:
        """How many probes of the whole batch go through the model at once, at least one."""
        # Context windows find their step in the schedule by the noise level of a single image.
        if "context_handler" in guider.model_options or not _tiles(guider.conds, len(x)):
            return 1
        if self.settings.options.max_batch:
            return max(1, self.settings.options.max_batch // len(x))
        return fitting(guider, x, self.settings.samples, MEMORY_MARGIN)

    def _record(self, step: int, measured: Estimate, mask: Tensor | None) -> None:
        errors = standard_errors(measured.probes, self.settings.options.estimator, mask)
        quantities = measured.quantities
        if mask is not None:  # outside nothing was measured
            quantities = {name: torch.where(mask > 0, value, 0) for name, value in quantities.items()}
        self.recorded.record(step, quantities, errors, float(measured.probes.sigma.max()))

    def _chosen(self, values: Tensor, step: int, mask: Tensor | None) -> Tensor:
        options = self.settings.options
        if self.thresholds is None:
            return uncertain_elements(values, self.settings.percentile, mask, scope=options.mask_scope, side=options.mask_side)
        tau = self.thresholds.at(step, values.shape).to(values)
        return inside(values > tau if options.mask_side == "high" else values < tau, mask)


def guide_every_sampling(model: ModelPatcher, settings: RunSettings, thresholds: Thresholds | None = None) -> ModelPatcher:
    """A clone of the model whose every sampling is guided by a run of its own, its probes by the sampling's seed (0 if none)."""

    def sample(
        executor: Any,
        noise: Tensor,
        latent_image: Tensor,
        sampler: Any,
        sigmas: Tensor,
        denoise_mask: Tensor | None = None,
        callback: Any = None,
        disable_pbar: bool = False,
        seed: int | None = None,
        **others: Any,
    ) -> Tensor:
        if len(others.get("latent_shapes") or ()) > 1:
            raise ValueError("latent_image packs several latents (video with sound), which cannot be guided yet.")
        run = UncertaintyRun(replace(settings, seed=seed or 0), range(len(noise)), {}, thresholds, records=False)
        run.attach_to_options(executor.class_obj.model_options)
        return executor(noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **others)

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, sample)
    return clone


def fingerprint(model: torch.nn.Module) -> str:
    """Name of a model's class and a digest of its layers' shapes and its first vector of weights: tells checkpoints apart."""
    digest = hashlib.sha256()
    vector = None
    for name, parameter in model.diffusion_model.named_parameters():
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        ordinary = type(parameter) in (Tensor, torch.nn.Parameter)
        if vector is None and ordinary and parameter.ndim == 1 and parameter.numel() > 1:
            vector = parameter
    if vector is not None:
        digest.update(vector.detach().to("cpu", torch.bfloat16).view(torch.uint8).numpy().tobytes())
    return f"{type(model).__name__} {digest.hexdigest()[:12]}"


def prompt_digest(conds: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Digest of what a text encoder made of the prompts: equal prompts, equal digests, and nothing to read in them."""
    digest = hashlib.sha256()
    for name in sorted(conds):
        for cond in conds[name]:
            for part in ("cross_attn", "pooled_output"):
                if isinstance(cond.get(part), Tensor):
                    encoded = cond[part].detach().to("cpu", torch.float32).contiguous()
                    digest.update(f"{name} {part} {tuple(encoded.shape)}".encode() + encoded.numpy().tobytes())
    return digest.hexdigest()[:16]


def _without_state(model_options: dict) -> dict:
    """Options for the probes, without what keeps state from call to call."""
    options = {key: value for key, value in model_options.items() if key not in STATEFUL_HOOKS}
    transformer = dict(options.get("transformer_options", {}))
    transformer["wrappers"] = {
        kind: {key: wrappers for key, wrappers in by_key.items() if key not in CACHES}
        for kind, by_key in transformer.get("wrappers", {}).items()
    }
    return options | {"transformer_options": transformer}


def _tiles(conds: Mapping[str, Sequence[Mapping[str, Any]]], images: int) -> bool:
    """Whether every image keeps its own conditioning in each of several probes: ComfyUI repeats it to the size of the batch."""
    entries = [entry for group in conds.values() for cond in group for entry in cond.get("model_conds", {}).values()]
    tensors = [getattr(entry, "cond", None) for entry in entries]
    tensors += [part for value in tensors if isinstance(value, list) for part in value]
    sizes = {len(value) for value in tensors if isinstance(value, Tensor)}
    return all(images % size == 0 for size in sizes)
