"""A diffusion model's last layer: its inputs, and where each of its outputs ends up in the denoised image."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...uncertainty.baselines.laplace import check_layer

# Name of the last layer in ComfyUI's networks: of UNets; of Flux, MMDiT and most other transformers.
NAMES = ("out.2", "final_layer.linear")
DIGIT = 256


class LastLayer:
    """The last layer of a network.

    Args:
        network: ComfyUI's ``diffusion_model``.

    Raises:
        ValueError: its last layer is unknown or of an unsupported kind.
    """

    def __init__(self, network: nn.Module) -> None:
        modules = dict(network.named_modules())
        names = [name for name in NAMES if name in modules]
        if not names:
            raise ValueError(
                f"bayesdiff cannot find the last layer of {type(network).__name__}, which must be called {' or '.join(NAMES)}: "
                "disconnect laplace."
            )
        self.name = names[0]
        self.module = modules[self.name]
        check_layer(self.module, f"{type(network).__name__}.{self.name}")

    @contextmanager
    def inputs(self) -> Iterator[list[Tensor]]:
        """Collects the inputs of the layer, one tensor per forward pass."""
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
        """How the layer's output becomes the denoised image, found by replacing the output with known values.

        After the last layer, networks only move and scale single elements.

        Args:
            denoised: predicts the denoised image from latents and noise levels, without CFG.
            x: latents of one image, (1, C, *spatial).
            sigma: noise level, (1,).

        Raises:
            ValueError: the model does something else after its last layer.
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
        while DIGIT**digits < 64 * x.numel():  # the layer may output more than the image, such as a learned variance
            digits += 1
        count = 2 + digits
        with self._output(known):
            images = denoised(x.expand(count, *x.shape[1:]), sigma.expand(count)).double()
        base, scale = images[0], images[1] - images[0]
        numbers = ((images[2:] - base) / scale).round().long()
        place = sum(number * DIGIT**power for power, number in enumerate(numbers))
        if not bool(((place >= 0) & (place < shape.numel())).all()):
            raise ValueError("bayesdiff does not support what this model does after its last layer: disconnect laplace.")
        return Tail(place.flatten(), scale.float(), shape)


class Tail:
    """The linear map from the layer's output to the denoised image.

    Args:
        place: for each element of the image, the index of the element of the layer's output that it comes from.
        scale: the factor of each element, (C, *spatial).
        shape: shape of the layer's output, without the batch.
    """

    def __init__(self, place: Tensor, scale: Tensor, shape: torch.Size) -> None:
        self.place = place
        self.scale = scale
        self.shape = shape

    def variance(self, output: Tensor) -> Tensor:
        """Variance of the denoised image, (B, C, *spatial), from the variance of the layer's output, (B, *shape)."""
        return self.scale.square() * output.flatten(1)[:, self.place].reshape(-1, *self.scale.shape)

    def gradient(self, denoised: Tensor) -> Tensor:
        """Gradient with respect to the layer's output, (B, *shape), from that for the denoised image, (B, C, *spatial)."""
        output = denoised.new_zeros(len(denoised), self.shape.numel())
        output.index_add_(1, self.place, (self.scale * denoised).flatten(1))
        return output.reshape(-1, *self.shape)


def single(model: Any, cond: list, options: dict) -> Callable[[Tensor, Tensor], Tensor]:
    """A function that predicts the denoised image with one prompt, without CFG."""
    import comfy.samplers

    return lambda x, sigma: comfy.samplers.calc_cond_batch(model, [cond], x, sigma, options)[0]
