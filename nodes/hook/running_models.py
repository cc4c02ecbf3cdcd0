"""The models that take part in a sampling."""

from typing import Any

from torch import nn


def sampled(guider: Any) -> list[Any]:
    """The sampled model, of which DualModelGuider has a second one."""
    if getattr(guider, "uncond_inner", None) is None:
        return [guider.model_patcher]
    return [guider.model_patcher, guider.uncond_model_patcher]


def patchers(guider: Any) -> list[Any]:
    """The sampled models, and those that run with them, such as ControlNets."""
    beside = [*getattr(guider, "loaded_models", ()), *getattr(guider, "uncond_loaded", ())]
    return [*sampled(guider), *beside]


def networks(guider: Any) -> list[nn.Module]:
    """The networks of all models that run."""
    return [patcher.model for patcher in patchers(guider)]
