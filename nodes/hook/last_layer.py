"""A diffusion model's last layer: what goes into it, and where in the denoised image each of its outputs ends up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...uncertainty.baselines.laplace import check_layer

# By what ComfyUI's networks call it: UNets; Flux, MMDiT and most other transformers.
NAMES = ("out.2", "final_layer.linear")
DIGIT = 256


class LastLayer:
    """The last layer of a network.

    Args:
        network: ComfyUI's ``diffusion_model``.

    Raises:
        ValueError: it has none that is known.
    """

    def __init__(self, network: nn.Module) -> None:
        modules = dict(network.named_modules())
        found = [name for name in NAMES if name in modules]
        if not found:
            raise ValueError(
                f"bayesdiff does not know the last layer of {type(network).__name__}: it needs one of {', '.join(NAMES)}."
            )
        self.name = found[0]
        self.module = modules[self.name]
        check_layer(self.module, f"{type(network).__name__}.{self.name}")

    @contextmanager
    def inputs(self) -> Iterator[list[Tensor]]:
        """Collects what goes into the layer, a tensor a pass."""
        seen: list[Tensor] = []
        handle = self.module.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        try:
            yield seen
        finally:
            handle.remove()

    @contextmanager
    def _output(self, replace: Callable[[Tensor], Tensor]) -> Iterator[None]:
        handle = self.module.register_forward_hook(lambda module, given, output: replace(output))
        try:
            yield
        finally:
            handle.remove()

    def tail(self, denoised: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: Tensor) -> "Tail":
        """What becomes of the layer's output behind it, read off by putting known values in its place.

        Behind the last layer networks only move and scale elements, each on its own.

        Args:
            denoised: the model's denoised image for latents and noise levels, without CFG.
            x: latents of one image, (1, C, *spatial).
            sigma: noise level, (1,).
        """
        shape = torch.Size()

        def known(output: Tensor) -> Tensor:
            nonlocal shape
            shape = output.shape[1:]
            place = torch.arange(shape.numel(), device=output.device)
            digits = [place // DIGIT**power % DIGIT for power in range(len(output) - 2)]
            rows = [torch.zeros_like(place), torch.ones_like(place), *digits]
            return torch.stack(rows).reshape(output.shape).to(output)

        digits = 1
        while DIGIT**digits < 64 * x.numel():  # the layer may give more than the image holds, as for a learned variance
            digits += 1
        count = 2 + digits
        with self._output(known):
            found = denoised(x.expand(count, *x.shape[1:]), sigma.expand(count)).double()
        base, scale = found[0], found[1] - found[0]
        numbers = ((found[2:] - base) / scale).round().long()
        place = sum(number * DIGIT**power for power, number in enumerate(numbers))
        if not bool(((place >= 0) & (place < shape.numel())).all()):
            raise ValueError("bayesdiff does not know what this model does behind its last layer: switch it off.")
        return Tail(place.flatten(), scale.float(), shape)


class Tail:
    """Where elements go behind the last layer.

    Args:
        place: for each element of the image, the element of the layer's output it comes from.
        scale: by what it is multiplied there, (C, *spatial).
        shape: of the layer's output, without the batch.
    """

    def __init__(self, place: Tensor, scale: Tensor, shape: torch.Size) -> None:
        self.place = place
        self.scale = scale
        self.shape = shape

    def variance(self, output: Tensor) -> Tensor:
        """Variance of the denoised image, (B, C, *spatial), for that of the layer's output, (B, *shape)."""
        return self.scale.square() * output.flatten(1)[:, self.place].reshape(-1, *self.scale.shape)

    def gradient(self, denoised: Tensor) -> Tensor:
        """Derivative by the layer's output, (B, *shape), for that by the denoised image, (B, C, *spatial)."""
        output = denoised.new_zeros(len(denoised), self.shape.numel())
        output.index_add_(1, self.place, (self.scale * denoised).flatten(1))
        return output.reshape(-1, *self.shape)


def single(model: Any, cond: list, options: dict) -> Callable[[Tensor, Tensor], Tensor]:
    """The denoised image a model predicts with one prompt, without CFG."""
    import comfy.samplers

    return lambda x, sigma: comfy.samplers.calc_cond_batch(model, [cond], x, sigma, options)[0]
