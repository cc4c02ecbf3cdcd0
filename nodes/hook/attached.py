"""What is attached to a model beside this pack, and would take part in the model calls of probes."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import comfy.hooks
from comfy.patcher_extension import CallbacksMP, WrappersMP
from torch import Tensor

from .running_models import networks, sampled

# Kinds of wrappers around what a probe calls.
AROUND_PROBES = (WrappersMP.CALC_COND_BATCH, WrappersMP.APPLY_MODEL, WrappersMP.DIFFUSION_MODEL)

# Packages of ComfyUI, whose patches keep no state between calls, or are left out of the options for probes.
COMFYUI = ("comfy", "comfy_extras", "comfy_api", "nodes", "torch")

# Models of ComfyUI whose networks mix the images of a batch: they read the timbre, or the text, of another place in the batch.
MIXING = ("ACEStep15", "SeedVR2")

# Tensors that ComfyUI itself puts into the options of a sampling.
OWN_TENSORS = ("sample_sigmas", "sigmas")


def attachments(guider: Any, options: Mapping[str, Any]) -> list[Any]:
    """Functions and objects that take part in model calls with these options, beyond the model and its prompts."""
    return [*_of_options(options), *_of_model(guider)]


def foreign(guider: Any, options: Mapping[str, Any]) -> list[str]:
    """Names of the attachments that are not ComfyUI's own and may keep state between calls."""
    functions = (_function(attached) for attached in attachments(guider, options))
    others = (function for function in functions if _is_foreign(function))
    # A pack's module may be named by the path of its folder.
    return list(dict.fromkeys(f"{each.__module__.rpartition('/')[2]}.{each.__qualname__}" for each in others))


def joins_copies(guider: Any, options: Mapping[str, Any], images: int) -> bool:
    """Whether several copies of the batch may share a call of the model: each image then meets what belongs to it.

    ComfyUI repeats the prompts to the size of the batch. Nobody repeats what an attachment holds for each image, such as a
    reference or a weight, so that with attachments each call gets one copy. So do models that mix the images of a batch, which
    would mix the copies.
    """
    if any(each.__name__ in MIXING for patcher in sampled(guider) for each in type(patcher.model).__mro__):
        return False
    conds = [cond for group in guider.conds.values() for cond in group or ()]
    if "context_handler" in guider.model_options or attachments(guider, options):
        # Context windows find their step in the schedule by the noise level of a single image.
        return False
    if any("control" in cond or "gligen" in cond for cond in conds) or _is_foreign(type(guider)):
        return False
    return tiles(conds, images)


def tiles(conds: Sequence[Mapping[str, Any]], images: int) -> bool:
    """Whether prompts repeat evenly over a batch of this size, so that each image meets its own in every copy of the batch."""
    held = [entry.cond for cond in conds for entry in cond.get("model_conds", {}).values() if hasattr(entry, "cond")]
    held += [cond["mask"] for cond in conds if "mask" in cond]
    tensors = [part for value in held for part in (value if isinstance(value, list) else [value])]
    if not all(isinstance(value, Tensor | int | float | str | bool | tuple | None) for value in tensors):
        return False
    return all(images % len(value) == 0 for value in tensors if isinstance(value, Tensor) and value.ndim)


def _of_options(options: Mapping[str, Any]) -> Iterator[Any]:
    if options.get("model_function_wrapper") is not None:
        yield options["model_function_wrapper"]
    transformer = options.get("transformer_options", {})
    for kind in AROUND_PROBES:
        for wrappers in transformer.get("wrappers", {}).get(kind, {}).values():
            yield from wrappers
    for kind in ("patches", "patches_replace"):
        for patches in transformer.get(kind, {}).values():
            yield from patches.values() if isinstance(patches, Mapping) else patches
    for name, value in transformer.items():
        if name not in OWN_TENSORS:
            yield from (part for part in (value if isinstance(value, list | tuple) else [value]) if isinstance(part, Tensor))


def _of_model(guider: Any) -> Iterator[Any]:
    for patcher in sampled(guider):
        yield from patcher.get_all_callbacks(CallbacksMP.ON_PREPARE_STATE)
        for injections in patcher.injections.values():
            yield from (injection.inject for injection in injections)
        yield from (patch for name, patch in patcher.object_patches.items() if name.partition(".")[0] == "diffusion_model")
    for cond in (cond for group in guider.conds.values() for cond in group or ()):
        hooks = getattr(cond.get("hooks"), "hooks", ())
        yield from (hook for hook in hooks if not isinstance(hook, comfy.hooks.WeightHook))
    for network in networks(guider):
        for module in network.modules():
            yield from module._forward_hooks.values()
            yield from module._forward_pre_hooks.values()


def _is_foreign(function: Any) -> bool:
    return (function.__module__ or "").partition(".")[0] not in COMFYUI


def _function(attached: Any) -> Any:
    """A function, or the class of an object, which both have a name."""
    while isinstance(attached, partial):
        attached = attached.func
    return attached if hasattr(attached, "__qualname__") else type(attached)
