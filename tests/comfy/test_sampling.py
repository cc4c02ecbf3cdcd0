"""The sampler node in a real ComfyUI: measuring changes nothing, guiding is exact, and everything is put back."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from real_models import Loaded, Sampling

SAMPLERS = ("euler", "euler_ancestral", "heun", "dpm_2", "dpmpp_2m", "dpmpp_2m_sde", "ddim", "uni_pc", "lcm", "euler_cfg_pp")


def test_measuring_leaves_the_image_bit_identical(loaded: Loaded, sampling: Sampling) -> None:
    latent, found, scores = sampling.node(loaded)
    assert torch.equal(latent["samples"], sampling.plain(loaded))
    assert found.steps == (3, 4) and found.total_steps == 5
    assert found.values.shape == (2, *latent["samples"].shape)
    assert all(torch.isfinite(values).all() for values in found.quantities.values())
    assert scores == found.score("denoised_variance").value.tolist()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_measuring_leaves_every_sampler_alone(sampler: str, loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    loaded = loaded_models["sd15"]
    latent, found, _ = sampling.node(loaded, sampler_name=sampler)
    assert torch.equal(latent["samples"], sampling.plain(loaded, sampler_name=sampler))
    assert found.steps == (3, 4)


def test_hooks_that_keep_state_do_not_see_the_probes(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    loaded = loaded_models["sd15"]
    seen: list[int] = []

    def running_average(args: dict) -> torch.Tensor:
        seen.append(len(args["denoised"]))
        return args["denoised"] * (1 + 0.01 * len(seen))

    model = loaded.model.clone()
    model.set_model_sampler_post_cfg_function(running_average)
    latent, _, _ = sampling.node(loaded, model=model)
    calls = len(seen)
    seen.clear()
    assert torch.equal(latent["samples"], sampling.plain(loaded, model=model))
    assert calls == len(seen) == 5


def test_global_generator_is_where_ksampler_leaves_it(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    loaded = loaded_models["sd15"]
    torch.manual_seed(0)
    sampling.plain(loaded, sampler_name="euler_ancestral")
    after_ksampler = torch.get_rng_state()
    torch.manual_seed(0)
    sampling.node(loaded, sampler_name="euler_ancestral", strength=1.0)
    assert torch.equal(torch.get_rng_state(), after_ksampler)


def test_guidance_changes_the_image_and_repeats(loaded: Loaded, sampling: Sampling) -> None:
    guided, _, _ = sampling.node(loaded, strength=1.0)
    again, _, _ = sampling.node(loaded, strength=1.0)
    assert torch.isfinite(guided["samples"]).all()
    assert torch.equal(guided["samples"], again["samples"])
    assert not torch.equal(guided["samples"], sampling.plain(loaded))


@pytest.mark.parametrize("strength", [1.0, -1.0])
def test_descending_is_ascending_with_the_other_sign(
    strength: float, loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    loaded = loaded_models["sd15"]
    descend = pack("uncertainty.options").Options(direction="descend")
    down, _, _ = sampling.node(loaded, strength=strength, options=descend)
    up, _, _ = sampling.node(loaded, strength=-strength)
    assert torch.equal(down["samples"], up["samples"])


def test_gradient_equals_the_joint_graph(
    loaded: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, weights = pack("nodes.sampling_hook"), pack("nodes.ordinary_weights")
    exact = hook.UncertaintyRun._gradient
    compared = []

    def compare(run: Any, guider: Any, score: Any, probes: Any) -> torch.Tensor:
        found = exact(run, guider, score, probes)
        with torch.inference_mode(False), torch.enable_grad(), weights.ordinary_weights([guider.inner_model]):
            b = probes.noising.b.clone().reshape(-1, 1, 1, 1)
            noise, sigma = probes.noise.clone(), probes.sigma.clone()
            x = probes.perturbed[0].clone() - b * (noise[0] - probes.center.clone())
            epsilon = probes.center.clone().requires_grad_()
            scores = [score(x + b * (n - epsilon), sigma) for n in noise]
            total = torch.stack(scores).var(0).sum()
            (joint,) = torch.autograd.grad(total, epsilon)
        compared.append(((found - joint).norm() / joint.norm()).item())
        return found

    monkeypatch.setattr(hook.UncertaintyRun, "_gradient", compare)
    sampling.node(loaded, strength=1.0)
    assert len(compared) == 2 and max(compared) < 1e-4, compared


class Stop(Exception):
    """Another pack's hook fails."""


@pytest.mark.parametrize("fault", ["none", "exception", "interrupt"])
@pytest.mark.parametrize("call", [7, 10, 12])
def test_parameters_are_the_same_objects_after(
    fault: str, call: int, loaded: Loaded, sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_management

    before = {name: id(p) for name, p in (*loaded.model.model.named_parameters(), *loaded.model.model.named_buffers())}
    reference, _, _ = sampling.node(loaded, strength=1.0)
    calls = 0

    def fail(apply: Callable, args: dict) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == call and fault == "exception":
            raise Stop
        if calls == call and fault == "interrupt":
            comfy.model_management.interrupt_current_processing(True)
        return apply(args["input"], args["timestep"], **args["c"])

    model = loaded.model.clone()
    model.set_model_unet_function_wrapper(fail)
    expected = {"exception": Stop, "interrupt": comfy.model_management.InterruptProcessingException}
    if fault == "none":
        sampling.node(loaded, model=model, strength=1.0)
    else:
        with pytest.raises(expected[fault]):
            sampling.node(loaded, model=model, strength=1.0)
        assert calls < 20
    after = {name: id(p) for name, p in (*loaded.model.model.named_parameters(), *loaded.model.model.named_buffers())}
    assert after == before
    comfy.model_management.interrupt_current_processing(False)
    again, _, _ = sampling.node(loaded, strength=1.0)
    assert torch.equal(again["samples"], reference["samples"])


def test_map_does_not_depend_on_probe_batches(loaded: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType]) -> None:
    one_by_one = pack("uncertainty.options").Options(max_batch=1)
    _, together, _ = sampling.node(loaded)
    _, alone, _ = sampling.node(loaded, options=one_by_one)
    for name, values in together.quantities.items():
        torch.testing.assert_close(alone.quantities[name], values, rtol=1e-3, atol=1e-5)


def test_an_image_sampled_alone_has_the_same_map(loaded: Loaded, sampling: Sampling) -> None:
    _, batch, _ = sampling.node(loaded, batch=3)
    alone = {"samples": loaded.latent(1)["samples"], "batch_index": [2]}
    _, single, _ = sampling.node(loaded, latent_image=alone)
    for name, values in single.quantities.items():
        torch.testing.assert_close(values, batch.select([2]).quantities[name], rtol=1e-3, atol=1e-5)


def test_percentile_hundred_guides_nothing(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    loaded = loaded_models["sd15"]
    latent, _, _ = sampling.node(loaded, strength=5.0, percentile=100.0)
    assert torch.equal(latent["samples"], sampling.plain(loaded))


def test_thresholds_replace_the_percentile(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    loaded = loaded_models["sd15"]
    thresholds = pack("uncertainty.thresholds").Thresholds
    nothing = thresholds({step: torch.tensor(1e9) for step in (3, 4)})
    latent, _, _ = sampling.node(loaded, strength=5.0, thresholds=nothing)
    assert torch.equal(latent["samples"], sampling.plain(loaded))
    with pytest.raises(ValueError, match=r"thresholds cover the steps \[3\], not step 4"):
        sampling.node(loaded, thresholds=thresholds({3: torch.tensor(0.0)}))


def test_inside_a_noise_mask_only(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    loaded = loaded_models["sd15"]
    mask = torch.zeros(1, 64, 64)
    mask[:, :, :32] = 1
    latent = loaded.latent(2) | {"noise_mask": mask}
    guided, found, _ = sampling.node(loaded, latent_image=latent, strength=1.0)
    assert found.mask is not None and found.mask.shape == (2, 1, 8, 8)
    assert found.mask[..., :4].min() == 1 and found.mask[..., 4:].max() == 0
    inside = found.quantity("denoised_variance")[..., :4].flatten(2).mean(2).sum(0)
    torch.testing.assert_close(found.score().value, inside)
    plain = sampling.plain(loaded, latent_image=latent)
    assert torch.equal(guided["samples"][..., 4:], plain[..., 4:])
    assert not torch.equal(guided["samples"][..., :4], plain[..., :4])


def test_an_empty_noise_mask_is_refused(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    loaded = loaded_models["sd15"]
    with pytest.raises(ValueError, match="noise mask of an image is empty"):
        sampling.node(loaded, latent_image=loaded.latent(1) | {"noise_mask": torch.zeros(1, 64, 64)})


def test_pure_noise_of_a_flow_model_is_refused_before_sampling(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    calls = []

    def count(apply: Callable, args: dict) -> torch.Tensor:
        calls.append(1)
        return apply(args["input"], args["timestep"], **args["c"])

    model = loaded_models["sd3"].model.clone()
    model.set_model_unet_function_wrapper(count)
    with pytest.raises(ValueError, match="Start the window after the first step"):
        sampling.node(loaded_models["sd3"], model=model, window_start=0.0)
    assert not calls


def test_settings_say_how_to_repeat_it(loaded: Loaded, sampling: Sampling) -> None:
    import json

    _, found, _ = sampling.node(loaded)
    settings = json.loads(json.dumps(dict(found.settings)))
    expected = {"samples": 3, "seed": 3, "steps": 5, "sampler": "euler", "window": [0.5, 0.9], "estimator": "control_variate"}
    assert expected.items() <= settings.items()
    assert settings["model_family"] in ("EPS", "CONST")
