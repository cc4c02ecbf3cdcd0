"""Copies between main memory and the device that do not make the processor wait, where ComfyUI trusts the device with that."""

import comfy.model_management
import torch
from torch import Tensor

from ...uncertainty.room import Room


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor in main memory, on the device."""
    return tensor.to(device, non_blocking=comfy.model_management.device_supports_non_blocking(device))


def kept(tensor: Tensor, room: Room) -> Tensor:
    """A copy in main memory, or in a file if that has no room left.

    From a graphics card it may still be on its way: only work that is queued there, such as sending it back, may read it.
    """
    tensor = tensor.detach()
    if not room.takes(tensor.nbytes):
        return room.mapped(tensor.shape, tensor.dtype).copy_(tensor)
    if tensor.is_cuda and comfy.model_management.device_supports_non_blocking(tensor.device):
        try:
            there = torch.empty_like(tensor, device="cpu", pin_memory=True)
        except RuntimeError:  # the system allows no more memory of that kind
            return tensor.to("cpu", copy=True)
        return there.copy_(tensor, non_blocking=True)
    return tensor.to("cpu", copy=True)
