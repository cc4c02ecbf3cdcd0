"""Runs that begin whenever a model is sampled, by whatever node of whatever pack."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.options import RunSettings
from ...uncertainty.room import Room
from ...uncertainty.thresholds import Thresholds
from .described_sampling import describe
from .packing import all_parts
from .probe_options import KEY
from .recording import Measured, Recording
from .sampling_hook import UncertaintyRun

log = logging.getLogger(__name__)

NOT_STARTED = "measuring could not begin; the log says why."


@dataclass(frozen=True)
class Sampling:
    """What a sampling starts from.

    Attributes:
        guider: samples the model.
        images: number of images B.
        latent_image: as the sampler node got it, (B, C, *spatial), or packed.
        latent_shapes: shapes of its parts with the batch, as far as ComfyUI tells.
        sampler: the algorithm.
        sigmas: noise levels, (steps + 1,).
        seed: of the noise; 0 if there is none.
    """

    guider: Any
    images: int
    latent_image: Tensor
    latent_shapes: Sequence[Sequence[int]]
    sampler: Any
    sigmas: Tensor
    seed: int

    def observe(self, run: UncertaintyRun) -> None:
        """Let a run see this sampling, which has not begun."""
        run.attach_to_options(self.guider.model_options)

    def check_reached(self, run: UncertaintyRun) -> None:
        """A guider that goes past the wrappers of the sampler is noticed here, when this sampling is over."""
        run.check_reached(type(self.guider).__name__, len(self.sigmas) - 1)


def guide_every_sampling(model: ModelPatcher, settings: RunSettings, thresholds: Thresholds | None = None) -> ModelPatcher:
    """A clone of the model that guides every sampling with a new run, whose probes use the sampling's seed (0 if none)."""

    @contextmanager
    def guided(sampling: Sampling) -> Iterator[None]:
        seeded = replace(settings, seed=sampling.seed)
        run = UncertaintyRun(seeded, range(sampling.images), {}, thresholds, records=False)
        sampling.observe(run)
        yield
        sampling.check_reached(run)

    return _around_every_sampling(model, guided)


def record_every_sampling(model: ModelPatcher, settings: RunSettings, recording: Recording) -> ModelPatcher:
    """A clone of the model of which every sampling is measured, without changing its images, and recorded.

    The probes use the sampling's seed (0 if none). A sampling that cannot be measured is recorded with the reason.
    """

    @contextmanager
    def recorded(sampling: Sampling) -> Iterator[None]:
        started = None
        with _without_stopping():
            started = _start(sampling, settings, recording.room())
        yield
        with _without_stopping():
            measured = Measured(None, NOT_STARTED, None) if started is None else _result(sampling, *started)
            recording.add(measured)

    return _around_every_sampling(model, recorded)


@contextmanager
def _without_stopping() -> Iterator[None]:
    """Another pack's sampler must finish its image, whatever happens to the map."""
    try:
        yield
    except Exception:  # of any kind, as in all that surrounds another pack's sampling
        log.exception("recording uncertainty failed; the image is not affected.")


def _start(sampling: Sampling, settings: RunSettings, room: Room) -> "tuple[_Watching, list[Tensor]]":
    """A run that watches the sampling, which is about to begin, and the latents that it begins with, in its room."""
    described = describe(sampling.guider, sampling.sampler, sampling.sigmas)
    run = _Watching(replace(settings, seed=sampling.seed), range(sampling.images), described, room=room)
    latents = [room.copied(part.detach()) for part in all_parts(sampling.latent_image, sampling.latent_shapes)]
    sampling.observe(run)
    return run, latents


def _result(sampling: Sampling, run: "_Watching", latents: Sequence[Tensor]) -> Measured:
    """What a run found, when the sampling is over."""
    sampling.check_reached(run)
    found = run.kept_map()
    failure = "" if found else run.why_no_map(run.described["sampler"])
    measured = Measured(found, failure, None)
    return replace(measured, latent=latents[measured.part])


class _Watching(UncertaintyRun):
    """A run in another pack's sampler, which must finish its image whatever it is given."""

    def _prepare(self, guider: Any, sigmas: Tensor, noise: Tensor, denoise_mask: Tensor | None) -> None:
        try:
            super()._prepare(guider, sigmas, noise, denoise_mask)
        except ValueError as error:  # as for a tile outside of the mask
            self.failure = str(error)
        except Exception as error:
            self._lose_map(error)

    def kept_map(self) -> UncertaintyMap | None:
        """Its map, all of it within its room; None if there is none."""
        try:
            return _within(self.room, self.uncertainty_map()) if self.has_map else None
        except OSError as error:  # the disk is full
            self._lose_map(error)
            return None


def _within(room: Room, found: UncertaintyMap) -> UncertaintyMap:
    """A map of which the maps of single steps are in a room, with all else in it as well."""
    return replace(
        found,
        mask=None if found.mask is None else room.copied(found.mask),
        of_run={name: room.copied(values) for name, values in found.of_run.items()},
        other_parts=tuple(_within(room, other) for other in found.other_parts),
    )


def _around_every_sampling(model: ModelPatcher, around: Callable[[Sampling], AbstractContextManager[None]]) -> ModelPatcher:
    """A clone of the model that is sampled within these contexts."""

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
        shapes = others.get("latent_shapes") or ()
        with around(Sampling(executor.class_obj, len(noise), latent_image, shapes, sampler, sigmas, seed or 0)):
            sampled: Tensor = executor(noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **others)
            return sampled

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, sample)
    return clone
