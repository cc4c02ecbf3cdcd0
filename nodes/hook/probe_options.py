"""Model options for probes, without stateful hooks, and for calls that also collect the predictions CFG combines."""

from collections.abc import Callable, Sequence
from typing import Any

from comfy.patcher_extension import WrappersMP, add_wrapper_with_key
from torch import Tensor

KEY = "uncertainty"

# Samplers (*_cfg_pp) and other packs (SAG, APG) keep state of the last call in these hooks, so they must not see probes.
STATEFUL_HOOKS = (
    "sampler_pre_cfg_function",
    "sampler_cfg_function",
    "sampler_post_cfg_function",
    "sampler_calc_cond_batch_function",
    "disable_cfg1_optimization",
)

# Wrapper keys of ComfyUI's step caches, which would answer a probe from the cache and then store the probe.
CACHES = ("easycache", "lazycache")


def without_state(model_options: dict) -> dict:
    """Options for probes, without hooks and caches that keep state between calls."""
    options = {key: value for key, value in model_options.items() if key not in STATEFUL_HOOKS}
    transformer = dict(options.get("transformer_options", {}))
    transformer["wrappers"] = {
        kind: {key: wrappers for key, wrappers in by_key.items() if key not in CACHES}
        for kind, by_key in transformer.get("wrappers", {}).items()
    }
    return options | {"transformer_options": transformer}


def with_predictions(model_options: dict, predictions: list[Tensor]) -> dict:
    """Options for one call that also stores the predictions that CFG combines, one per prompt, in ``predictions``."""

    def catch(executor: Callable[..., list[Tensor]], *args: Any) -> list[Tensor]:
        predictions[:] = executor(*args)
        return list(predictions)

    return _around_prompts(model_options, catch)


def with_prediction_of(model_options: dict, prompt: Sequence[Any], predictions: list[Tensor]) -> dict:
    """Options for one call that also appends the prediction under ``prompt``, one of the guider's, to ``predictions``."""

    def catch(executor: Callable[..., list[Tensor]], model: Any, prompts: Sequence[Any], *args: Any) -> list[Tensor]:
        made = executor(model, prompts, *args)
        predictions.extend(prediction for asked, prediction in zip(prompts, made, strict=True) if asked is prompt)
        return made

    return _around_prompts(model_options, catch)


def _around_prompts(model_options: dict, catch: Callable[..., list[Tensor]]) -> dict:
    """A copy of the options with a wrapper around the evaluation of all prompts."""
    transformer = dict(model_options.get("transformer_options", {}))
    transformer["wrappers"] = {
        kind: {key: list(wrappers) for key, wrappers in by_key.items()}
        for kind, by_key in transformer.get("wrappers", {}).items()
    }
    options = model_options | {"transformer_options": transformer}
    add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, KEY, catch, options, is_model_options=True)
    return options
