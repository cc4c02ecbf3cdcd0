"""Gradients for guidance: exact where the model and memory allow it, otherwise forward-only."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from ...uncertainty.estimation import Estimate
from ...uncertainty.gradients import KeptGraph, exact_gradient, forward_only_gradient
from ...uncertainty.options import RunSettings
from ...uncertainty.probes import Denoiser, Probes
from ...uncertainty.saved_tensors import written_over
from .. import versions
from . import attached
from .inference_weights import NoGradient, check_ordinary, ordinary_weights
from .kernels import make_differentiable
from .measurement import measure, measure_around
from .model_call import Call
from .out_of_memory import OutOfMemory, named_out_of_memory
from .recompute import recomputed_blocks
from .running_models import networks, patchers, sampled
from .streamed_weights import are_streamed, lasting_weights

log = logging.getLogger(__name__)

# Memory of a backward pass, as a multiple of ComfyUI's estimate for a forward pass. Counted: 9 (SD1.5), 13 to 23 (SDXL, SD3.5,
# Flux, LTX-Video), 34 (Wan 2.1), see benchmarks/full_size.py. If it is too low, the gradient is computed again with less memory.
GRAPH_MEMORY = 20

# The same where each block is computed again. Counted: 2.0 (SD3.5) to 3.6 (SDXL).
RECOMPUTED_MEMORY = 4

SLOWER = "uncertainty guidance ran out of memory and continues with %s, which is slower."

# Part of autograd's message for networks that write over what it saved. Copying saved tensors costs time, so it is done only for
# these, and where something of another pack is attached, whose writes autograd may not see.
OVERWRITTEN = "modified by an inplace operation"

# Parts of autograd's messages for operations that cannot be differentiated.
WITHOUT_BACKWARD = (
    "no autograd formula was registered", "is not implemented", "does not require grad",
    "don't support automatic differentiation",  # a network that writes a sum over its input
)  # fmt: skip


class Differentiation:
    """Computes the gradients of one run. In mode ``auto``, falls back from exact to forward-only and logs it once.

    Args:
        mode: one of ``GRADIENTS``.
        quantity: the quantity to differentiate, one of ``GUIDED_QUANTITIES``.

    Attributes:
        used: ``exact`` or ``forward_only``: how the next gradient will be computed.
    """

    def __init__(self, mode: str, quantity: str) -> None:
        self.quantity = quantity
        self.used = "forward_only" if mode == "forward_only" else "exact"
        self._may_fall_back = mode == "auto"
        self._overwrites = False
        self._one_by_one = False
        self._recompute = False
        self._streamed = False

    def prepare(self, guider: Any) -> None:
        """Check before sampling whether autograd can differentiate the model.

        Raises:
            ValueError: it cannot, and the mode is ``exact``.
        """
        if self.used != "exact":
            return
        try:
            _check_attention()
            _check_hooks(guider)
            check_ordinary(networks(guider))
        except NoGradient as reason:
            self._fall_back(reason)
        self._streamed = any(map(are_streamed, patchers(guider)))
        # Block by block, so that at once only one block's weights are copied, beside those outside of blocks.
        self._recompute = self._streamed

    def measure(self, call: Call, settings: RunSettings) -> tuple[Estimate, int, KeptGraph | None]:
        """Measure a call that will be guided, with the graph for its gradient if memory is ample for that of all probes."""
        if self._keeps_graph(call, settings.samples):
            graph = KeptGraph()
            overwrites = self._overwrites or attached.foreign(call.guider, call.options)
            try:
                # No gradient is asked for but that of the network.
                with self._differentiable(call.guider), torch.no_grad(), written_over() if overwrites else nullcontext():
                    return measure_around(call, settings, graph.watching), call.probes_per_call, graph
            except OutOfMemory:
                self._one_by_one = True
                log.warning(SLOWER, "one probe at a time")
            except NoGradient:
                pass  # said when the gradient is computed
            graph.forget()
            comfy.model_management.soft_empty_cache()
        return *measure(call, settings), None

    def _keeps_graph(self, call: Call, samples: int) -> bool:
        exact = self.used == "exact" and not self._one_by_one and not self._recompute
        return exact and fitting(call.guider, call.x, samples, GRAPH_MEMORY) == samples

    def __call__(
        self, guider: Any, score: Denoiser, probes: Probes, probes_per_call: int, kept: KeptGraph | None = None
    ) -> Tensor:
        """∂(Σ U)/∂ε, shape (B, C, *spatial)."""
        if self.used == "exact":
            try:
                return self._exact(guider, score, probes, probes_per_call, kept)
            except NoGradient as reason:
                self._fall_back(reason)
        try:
            return self._forward_only(score, probes, probes_per_call)
        except OutOfMemory:
            log.warning(SLOWER, "one probe at a time")
        # Outside the handler, because the exception keeps the failed call's activations alive.
        comfy.model_management.soft_empty_cache()
        try:
            return self._forward_only(score, probes, 1)
        except OutOfMemory as error:
            raise OutOfMemory(
                f"guidance ran out of memory even with one probe of {len(probes.center)} images at a time: use a smaller batch "
                "or smaller images, or set strength to 0 to measure only."
            ) from error

    @named_out_of_memory()
    def _forward_only(self, score: Denoiser, probes: Probes, probes_per_call: int) -> Tensor:
        return forward_only_gradient(score, probes, probes_per_call, quantity=self.quantity)

    def _fall_back(self, reason: NoGradient) -> None:
        if not self._may_fall_back:
            raise ValueError(f"gradient exact is not possible: {reason}. Choose gradient auto or forward_only.") from reason
        self.used = "forward_only"
        log.warning("uncertainty guidance uses forward-only gradients, which are less accurate: %s.", reason)

    def _exact(self, guider: Any, score: Denoiser, probes: Probes, probes_per_call: int, kept: KeptGraph | None) -> Tensor:
        """The exact gradient, computed with less memory each time memory runs out."""
        while True:
            needed = RECOMPUTED_MEMORY if self._recompute else GRAPH_MEMORY
            at_once = 1 if self._one_by_one else fitting(guider, probes.center, probes_per_call, needed)
            try:
                with self._differentiable(guider):
                    # Only sigma is saved for the backward pass, so it alone must become an ordinary tensor.
                    return exact_gradient(score, replace(probes, sigma=probes.sigma.clone()), at_once, self.quantity, kept)
            except OutOfMemory as error:
                if self._recompute and at_once == 1:
                    raise NoGradient(
                        f"the backward pass of {len(probes.center)} images does not fit into memory; try a smaller batch"
                    ) from error
                recompute_now = at_once == 1 and kept is None
                self._recompute = self._recompute or recompute_now
                self._one_by_one = True
                log.warning(SLOWER, "recomputation" if recompute_now else "one probe at a time")
            except RuntimeError as error:
                if kept is None or OVERWRITTEN not in str(error):
                    raise
                self._overwrites = True  # not known to later runs, whose images would differ from the first one's by rounding
            finally:
                if kept is not None:
                    kept.forget()  # the callers hold it too
            kept = None
            comfy.model_management.soft_empty_cache()

    @contextmanager
    def _differentiable(self, guider: Any) -> Iterator[None]:
        """Within this context, autograd can differentiate the model.

        Raises:
            NoGradient: it cannot after all.
        """
        parts = networks(guider)
        make_differentiable()
        memory = recomputed_blocks(parts) if self._recompute else nullcontext()
        weights = lasting_weights() if self._streamed else nullcontext()
        try:
            with (
                named_out_of_memory(), torch.inference_mode(False), ordinary_weights(parts), versions.differentiable(),
                memory, weights,
            ):  # fmt: skip
                yield
        except OutOfMemory:
            raise
        except RuntimeError as error:
            if isinstance(error.__context__, OutOfMemory):
                # When memory runs out, ComfyUI's attention continues in place, which autograd refuses.
                raise OutOfMemory(f"attention ran out of memory ({error})") from error
            if any(words in str(error) for words in WITHOUT_BACKWARD):
                raise NoGradient(f"part of this model has no backward pass ({error})") from error
            if "Inference tensors cannot be saved" not in str(error):
                raise
            raise NoGradient(
                "something attached to this model (a Control-LoRA, or another node's patch with its own weights) does not let "
                "gradients through"
            ) from error


def fitting(guider: Any, x: Tensor, most: int, margin: float) -> int:
    """How many probes of latents like x fit into free memory, from 1 to ``most``. ``margin`` multiplies ComfyUI's estimate."""
    free = versions.free_memory(guider.model_patcher, x.device)
    for probes in range(most, 1, -1):
        # The conditional and the unconditional half run in one batch.
        shape = [2 * probes * len(x), *x.shape[1:]]
        if max(patcher.model.memory_required(shape) for patcher in sampled(guider)) * margin < free:
            return probes
    return 1


def _check_attention() -> None:
    """Raise NoGradient for attention kernels without a backward pass; some would silently drop attention from the gradient."""
    for name in ("sage", "flash"):
        if getattr(comfy.model_management, f"{name}_attention_enabled")():
            raise NoGradient(f"ComfyUI was started with --use-{name}-attention, which has no backward pass")


def _check_hooks(guider: Any) -> None:
    """Raise NoGradient if prompts change the weights: the backward pass would use the last prompt's weights for all of them."""
    if len({id(cond.get("hooks")) for conds in guider.conds.values() for cond in conds}) > 1:
        raise NoGradient("prompts of this run change the model's weights with their own hooks (a LoRA on one prompt)")
