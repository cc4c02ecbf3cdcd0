"""UncertaintyKSamplerAdvanced compared with ComfyUI's KSampler (Advanced), and with the node that samples a whole schedule."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from real_models import MEASURING, Loaded, Sampling

STEPS = 8
WHOLE = {
    "add_noise": "enable", "noise_seed": 3, "steps": STEPS, "start_at_step": 0, "end_at_step": 10000,
    "return_with_leftover_noise": "disable",
}  # fmt: skip
PARTS: dict[str, dict[str, Any]] = {
    "whole": {},
    "first stage": {"end_at_step": 5, "return_with_leftover_noise": "enable"},
    "stopped": {"end_at_step": 5},
    "last stage": {"start_at_step": 5, "add_noise": "disable"},
    "middle": {"start_at_step": 2, "end_at_step": 6, "add_noise": "disable", "return_with_leftover_noise": "enable"},
}


@pytest.fixture
def given(sampling: Sampling) -> Callable[..., dict[str, Any]]:
    """Inputs of KSampler (Advanced)."""

    def build(loaded: Loaded, **changed: Any) -> dict[str, Any]:
        inputs = sampling.inputs(loaded, None)
        kept = {name: value for name, value in inputs.items() if name not in ("seed", "denoise")}
        return kept | WHOLE | changed

    return build


@pytest.fixture
def node(pack: Callable[[str], ModuleType]) -> Callable[..., tuple[dict, Any, list[float]]]:
    """UncertaintyKSamplerAdvanced, by default without guidance."""
    execute = pack("nodes.sampling.ksampler_advanced").UncertaintyKSamplerAdvanced.execute
    return lambda **inputs: execute(**(MEASURING | inputs)).args


def plain(inputs: dict[str, Any]) -> torch.Tensor:
    import nodes as comfy_nodes

    (latent,) = comfy_nodes.KSamplerAdvanced().sample(**inputs)
    return latent["samples"]


@pytest.mark.parametrize("sampler", ["euler", "dpm_2", "uni_pc", "euler_cfg_pp"])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_without_guidance_the_latent_is_the_same(
    family: str, part: str, sampler: str, loaded_models: dict[str, Loaded], given: Callable, node: Callable
) -> None:
    inputs = given(loaded_models[family], sampler_name=sampler, **PARTS[part])
    latent, found, scores = node(**inputs)
    assert torch.equal(latent["samples"], plain(inputs))
    assert scores == found.score().value.tolist()


def test_the_window_is_of_the_steps_that_are_sampled(loaded_models: dict[str, Loaded], given: Callable, node: Callable) -> None:
    inputs = given(loaded_models["sd15"], **PARTS["last stage"], latent_image={"samples": torch.randn(2, 4, 8, 8)})
    _, found, _ = node(**inputs)
    assert (found.total_steps, found.steps) == (3, (1, 2))
    _, all_of_it, _ = node(**inputs | {"window_start": 0.0, "window_end": 1.0})
    assert all_of_it.steps == (0, 1, 2)
    assert all_of_it.sigmas[1:].tolist() == found.sigmas.tolist()
    named = {"start_at_step": 5, "end_at_step": STEPS, "add_noise": False, "return_with_leftover_noise": False, "seed": 3}
    assert {name: found.settings[name] for name in named} == named


def test_two_stages_find_what_one_sampler_finds(
    loaded_models: dict[str, Loaded], sampling: Sampling, given: Callable, node: Callable
) -> None:
    """Stages of one schedule: the latent of all of it, and the same steps, which each stage counts from 0."""
    loaded = loaded_models["sd15"]
    whole = {"window_start": 0.0, "window_end": 1.0}
    latent, one, _ = sampling.node(loaded, steps=STEPS, **MEASURING | whole)
    first, _, _ = node(**given(loaded, **PARTS["first stage"]))
    second, last, _ = node(**given(loaded, **PARTS["last stage"], latent_image=first), **whole)
    assert torch.allclose(second["samples"], latent["samples"], atol=1e-5)
    assert last.sigmas.tolist() == one.sigmas[5:].tolist()
    entire, same, _ = node(**given(loaded), **whole)
    assert torch.equal(entire["samples"], latent["samples"])
    assert torch.equal(same.values, one.values)


def test_guidance_changes_only_its_stage(loaded_models: dict[str, Loaded], given: Callable, node: Callable) -> None:
    inputs = given(loaded_models["sd15"], **PARTS["first stage"])
    guided, found, _ = node(**inputs, strength=5.0)
    assert torch.isfinite(guided["samples"]).all() and not torch.equal(guided["samples"], plain(inputs))
    assert found.settings["strength"] == 5.0
    rest = given(loaded_models["sd15"], **PARTS["last stage"], latent_image=guided)
    assert torch.equal(node(**rest)[0]["samples"], plain(rest))


@pytest.mark.parametrize("part", [{"start_at_step": STEPS}, {"start_at_step": 5, "end_at_step": 5}])
def test_a_stage_without_steps_passes_the_latent_on(
    part: dict[str, int], loaded_models: dict[str, Loaded], given: Callable, node: Callable
) -> None:
    from comfy_execution.graph import ExecutionBlocker

    inputs = given(loaded_models["sd15"], add_noise="disable", **part)
    latent, found, _ = node(**inputs)
    assert torch.equal(latent["samples"], plain(inputs))
    assert isinstance(found, ExecutionBlocker) and "no step was sampled: start_at_step (" in found.message


@pytest.mark.parametrize("name", ["add_noise", "return_with_leftover_noise"])
def test_a_choice_by_link_is_checked(name: str, loaded_models: dict[str, Loaded], given: Callable, node: Callable) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be .*enable.* got 'yes'"):
        node(**given(loaded_models["sd15"], **{name: "yes"}))
