"""Differentiate through a network whose weights were loaded in inference mode, without copying the weights."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class NoGradient(Exception):
    """Autograd cannot differentiate this model; the message gives the reason."""


def _twin(tensor: Tensor) -> Tensor:
    """An ordinary tensor that shares the memory of an inference tensor."""
    twin = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return twin.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())


def check_ordinary(networks: Iterable[nn.Module]) -> None:
    """Check that autograd can use the weights.

    Raises:
        NoGradient: a parameter is quantised, which means that it has its own tensor class without plain storage.
    """
    for network in networks:
        for name, parameter in network.named_parameters():
            if type(parameter) not in (Tensor, nn.Parameter):
                raise NoGradient(f"the weights of this model are quantised ({name} is a {type(parameter).__name__})")


@contextmanager
def ordinary_weights(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Replace inference tensors among parameters and buffers with ordinary twins, and put the original objects back afterwards.

    Autograd cannot save inference tensors for the backward pass. A twin shares the memory, so nothing is copied.
    """
    replaced: list[tuple[dict, str, Tensor]] = []
    try:
        with torch.inference_mode(False):
            for network in networks:
                for module in network.modules():
                    for name, parameter in module._parameters.items():
                        if parameter is not None and parameter.is_inference():
                            replaced.append((module._parameters, name, parameter))
                            twin = nn.Parameter(_twin(parameter), requires_grad=False)
                            vars(twin).update(vars(parameter))  # ComfyUI notes there what it needs for streaming
                            module._parameters[name] = twin
                    for name, buffer in module._buffers.items():
                        if buffer is not None and buffer.is_inference():
                            replaced.append((module._buffers, name, buffer))
                            module._buffers[name] = _twin(buffer)
        yield
    finally:
        for tensors, name, original in replaced:
            tensors[name] = original
