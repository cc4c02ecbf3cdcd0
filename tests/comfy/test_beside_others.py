"""Beside what other packs attach: the image is untouched at strength 0, and maps and steps are right or refused in words."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_custom_sampler import MEASURING, cfg, custom, node, plain  # noqa: F401 (fixtures)
from torch import Tensor

from real_models import Loaded, Sampling

ALL_STEPS = {"window_start": 0.0, "window_end": 1.0}


@pytest.fixture
def unet(loaded_models: dict[str, Loaded]) -> Loaded:
    return loaded_models["sd15"]


def blocked(found: Any) -> str:
    """The message in place of a map."""
    from comfy_execution.graph import ExecutionBlocker

    assert isinstance(found, ExecutionBlocker), found
    return str(found.message)


class StepCache:
    """Answers every third call with what it remembers of the last one, as step caches do."""

    def __init__(self) -> None:
        self.calls = 0
        self.remembered: Tensor | None = None

    def __call__(self, apply: Callable, args: dict) -> Tensor:
        self.calls += 1
        if self.calls % 3 == 0 and self.remembered is not None:
            return args["input"] + self.remembered
        output = apply(args["input"], args["timestep"], **args["c"])
        self.remembered = output - args["input"]
        return output


def cached(model: Any) -> Any:
    clone = model.clone()
    clone.set_model_unet_function_wrapper(StepCache())
    return clone


def counting_attention(model: Any) -> Any:
    seen: list[int] = []

    def patch(q: Tensor, k: Tensor, v: Tensor, options: dict) -> tuple[Tensor, Tensor, Tensor]:
        seen.append(1)
        return q * (1 + 0.01 * len(seen)), k, v

    clone = model.clone()
    clone.set_model_attn1_patch(patch)
    return clone


def averaging_network(model: Any) -> Any:
    from comfy.patcher_extension import WrappersMP

    last: list[Tensor] = []

    def average(executor: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        output = executor(x, *args, **kwargs)
        last[:] = [*last[-1:], output]
        return (last[0] + last[-1]) / 2

    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "another pack", average)
    return clone


STATEFUL = {"step cache": cached, "attention": counting_attention, "network": averaging_network}


@pytest.mark.parametrize("live", [False, True], ids=["", "live preview"])
@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m_sde"])
@pytest.mark.parametrize("name", STATEFUL)
def test_patches_with_state_do_not_notice_a_measuring_run(
    name: str, sampler: str, live: bool, unet: Loaded, sampling: Sampling, pack: Callable[[str], Any]
) -> None:
    options = pack("uncertainty.options").Options(live_preview=live)
    run = {"sampler_name": sampler, "steps": 7}
    latent, found, _ = sampling.node(unet, model=STATEFUL[name](unet.model), options=options, **run)
    assert torch.equal(latent["samples"], sampling.plain(unet, model=STATEFUL[name](unet.model), **run))
    assert not torch.equal(latent["samples"], sampling.plain(unet, **run)), "it does nothing"
    assert found.steps == (3, 4)


@pytest.mark.parametrize("name", STATEFUL)
def test_nor_do_they_notice_baselines(name: str, unet: Loaded, sampling: Sampling, pack: Callable[[str], Any]) -> None:
    options = pack("uncertainty.options").Options(baselines=("paper_score", "cfg_rejection"))
    latent, found, _ = sampling.node(unet, model=STATEFUL[name](unet.model), options=options)
    assert torch.equal(latent["samples"], sampling.plain(unet, model=STATEFUL[name](unet.model)))
    assert set(found.baselines) == {"paper_score", "cfg_rejection"}


def test_a_guider_with_state_does_not_notice_a_measuring_run(
    unet: Loaded,
    node: Callable,  # noqa: F811
    plain: Callable,  # noqa: F811
) -> None:
    import comfy.samplers

    class Ramp(comfy.samplers.CFGGuider):
        """Raises its scale with each prediction."""

        def predict_noise(self, *args: Any, **kwargs: Any) -> Tensor:
            self.cfg += 0.5
            return super().predict_noise(*args, **kwargs)

    def guider() -> Any:
        ramp = Ramp(unet.model)
        ramp.set_conds(unet.positive, unet.negative)
        return ramp

    output, denoised, found, _ = node(guider(), custom(unet))
    expected = plain(guider(), custom(unet))
    assert torch.equal(output["samples"], expected[0]["samples"]) and torch.equal(denoised["samples"], expected[1]["samples"])
    assert found.steps == (2, 3)


@pytest.mark.parametrize("hidden", [Exception("a patch of another pack"), torch.cuda.OutOfMemoryError()], ids=["error", "memory"])
def test_an_error_while_measuring_costs_the_map_alone(
    hidden: Exception, unet: Loaded, sampling: Sampling, caplog: pytest.LogCaptureFixture
) -> None:
    def attached() -> Any:
        calls = []

        def break_after(apply: Callable, args: dict) -> Tensor:
            calls.append(1)
            if len(calls) > 5:
                raise hidden
            return apply(args["input"], args["timestep"], **args["c"])

        model = unet.model.clone()
        model.set_model_unet_function_wrapper(break_after)
        return model

    latent, found, scores = sampling.node(unet, model=attached())
    assert torch.equal(latent["samples"], sampling.plain(unet, model=attached()))
    assert "no uncertainty map, because measuring it failed: " in blocked(found) and blocked(scores[0]) == blocked(found)
    assert "measuring uncertainty failed" in caplog.text and type(hidden).__name__ in caplog.text
    with pytest.raises(type(hidden)):
        sampling.node(unet, model=attached(), strength=1.0)


def test_an_interrupt_while_measuring_ends_the_run(unet: Loaded, sampling: Sampling) -> None:
    import comfy.model_management

    calls = []

    def interrupt(apply: Callable, args: dict) -> Tensor:
        calls.append(1)
        if len(calls) == 7:
            comfy.model_management.interrupt_current_processing(True)
        return apply(args["input"], args["timestep"], **args["c"])

    model = unet.model.clone()
    model.set_model_unet_function_wrapper(interrupt)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sampling.node(unet, model=model)
    assert len(calls) == 7


def test_guiding_names_what_could_notice_the_probes_once(
    unet: Loaded, sampling: Sampling, caplog: pytest.LogCaptureFixture
) -> None:
    sampling.node(unet, model=cached(unet.model), strength=1.0)
    assert len([record for record in caplog.records if "StepCache takes part in these calls" in record.message]) == 1
    caplog.clear()
    sampling.node(unet, strength=1.0)
    assert "takes part" not in caplog.text


def weighted(model: Any, weights: list[float]) -> Any:
    """A patch that holds one weight for each image, and repeats them for the prompts of a call."""
    held = torch.tensor(weights).view(-1, 1, 1)

    def patch(x: Tensor, options: dict) -> Tensor:
        copies = -(-len(x) // len(held))
        return x * held.repeat_interleave(copies, 0)[: len(x)] if copies > 2 else x * held.repeat(copies, 1, 1)

    clone = model.clone()
    clone.set_model_attn1_output_patch(patch)
    return clone


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_every_image_meets_its_own_part_of_a_patch(strength: float, unet: Loaded, sampling: Sampling) -> None:
    weights = [1.0, 3.0]
    latent, together, _ = sampling.node(unet, model=weighted(unet.model, weights), strength=strength)
    # In the second image of a batch, and alone under its number.
    alone = {"samples": unet.latent(1)["samples"], "batch_index": [1]}
    single_latent, single, _ = sampling.node(unet, model=weighted(unet.model, weights[1:]), latent_image=alone, strength=strength)
    torch.testing.assert_close(latent["samples"][1:], single_latent["samples"], rtol=1e-3, atol=1e-3)
    for name, values in together.select([1]).quantities.items():
        assert (values - single.quantities[name]).norm() / values.norm() < 1e-3, name


class Hint(torch.nn.Module):
    """The network of a T2I adapter that adds its hint to the middle block."""

    unshuffle_amount = 8

    def forward(self, hint: Tensor) -> dict[str, list[Tensor]]:
        pooled = torch.nn.functional.adaptive_avg_pool2d(hint, 4).mean(1, keepdim=True).expand(-1, 64, -1, -1)
        return {"input": [], "middle": [20 * pooled], "output": []}


@pytest.mark.parametrize("images", [1, 2])
def test_probes_see_the_hint_of_a_t2i_adapter(
    images: int, unet: Loaded, sampling: Sampling, caplog: pytest.LogCaptureFixture
) -> None:
    from comfy.controlnet import T2IAdapter

    hints = torch.stack([torch.full((3, 64, 64), float(image)) for image in (1, -2)])[:images]
    control = T2IAdapter(Hint(), 3, 8, "nearest-exact", torch.device("cpu")).set_cond_hint(hints)
    positive = [[text, options | {"control": control, "control_apply_to_uncond": True}] for text, options in unet.positive]
    adapted = replace(unet, positive=positive)
    latent, found, _ = sampling.node(adapted, batch=images)
    assert torch.equal(latent["samples"], sampling.plain(adapted, batch=images))
    assert not torch.equal(latent["samples"], sampling.plain(unet, batch=images))
    assert "control could not be applied" not in caplog.text
    _, without, _ = sampling.node(unet, batch=images)
    assert all((found.quantities[name] - without.quantities[name]).norm() > 0 for name in found.quantities)


class PastTheHooks:
    """A guider that calls its model itself, below a noise level."""

    def __new__(cls, loaded: Loaded, below: float = math.inf) -> Any:
        import comfy.samplers

        class DirectGuider(comfy.samplers.CFGGuider):
            def __call__(self, x: Tensor, timestep: Tensor, *args: Any, **kwargs: Any) -> Tensor:
                predict = self.predict_noise if float(timestep[0]) < below else super().__call__
                return predict(x, timestep, *args, **kwargs)

        guider = DirectGuider(loaded.model)
        guider.set_conds(loaded.positive, loaded.negative)
        guider.set_cfg(3.0)
        return guider


def test_a_guider_past_the_hooks_is_named(
    unet: Loaded,
    plain: Callable,  # noqa: F811
    node: Callable,  # noqa: F811
    pack: Callable[[str], Any],
) -> None:
    inputs = custom(unet)
    output, _, found, _ = node(PastTheHooks(unet), inputs)
    assert torch.equal(output["samples"], plain(PastTheHooks(unet), inputs)[0]["samples"])
    assert "because DirectGuider calls the model past the hooks that measure" in blocked(found)
    with pytest.raises(ValueError, match="strength must be 0, because DirectGuider calls the model past the hooks that guide"):
        node(PastTheHooks(unet), inputs, strength=50.0)
    below = float(inputs["sigmas"][1])
    assert "because DirectGuider, or a step cache, answers past the hooks" in blocked(node(PastTheHooks(unet, below), inputs)[2])
    with pytest.raises(ValueError, match="strength must be 0, because DirectGuider, or a step cache, answers past the hooks"):
        node(PastTheHooks(unet, below), inputs, strength=50.0)
    guide = pack("nodes.sampling.guidance_patch").UncertaintyGuidance.execute
    guided = replace(unet, model=guide(unet.model, **(MEASURING | {"strength": 1.0})).args[0])
    with pytest.raises(ValueError, match="strength must be 0, because DirectGuider"):
        plain(PastTheHooks(guided), inputs)
    # Without steps there is nothing to guide.
    node(PastTheHooks(unet), custom(unet, sigmas=torch.FloatTensor([])), strength=1.0)


def levels_of(loaded: Loaded) -> tuple[Loaded, list[float]]:
    """The model, and a list that collects the noise level of each of its calls."""
    levels: list[float] = []

    def watch(apply: Callable, args: dict) -> Tensor:
        levels.append(float(args["timestep"].max()))
        return apply(args["input"], args["timestep"], **args["c"])

    model = loaded.model.clone()
    model.set_model_unet_function_wrapper(watch)
    return replace(loaded, model=model), levels


def test_flipped_and_rising_sigmas_have_the_names_of_their_steps(unet: Loaded, node: Callable, plain: Callable) -> None:  # noqa: F811
    rising = custom(unet, steps=8)["sigmas"].flip(0)
    rising[0] = 1e-4
    zigzag = torch.tensor([9.0, 4.0, 6.0, 2.0, 3.0, 0.5])
    for sigmas in (rising, zigzag):
        watched, levels = levels_of(unet)
        inputs = custom(unet, sigmas=sigmas)
        output, _, found, _ = node(cfg(watched), inputs, window_start=0.25)
        assert torch.equal(output["samples"], plain(cfg(unet), inputs)[0]["samples"])
        assert len(found.steps) > 1 and found.sigmas.tolist() == pytest.approx([levels[step] for step in found.steps])
        assert found.sigmas.tolist() == pytest.approx(sigmas[list(found.steps)].tolist())


def test_what_cannot_be_numbered_is_said(unet: Loaded, node: Callable) -> None:  # noqa: F811
    import comfy.samplers

    def secretive(model: Any, x: Tensor, sigmas: Tensor, extra_args: dict, callback: Any = None, disable: Any = None) -> Tensor:
        for sigma in sigmas[:-1]:
            x = model(x, (0.9 * sigma).expand(len(x)), **extra_args)
        return x

    inputs = custom(unet, sigmas=torch.tensor([1.0, 2.0, 4.0, 9.0])) | {"sampler": comfy.samplers.KSAMPLER(secretive)}
    found = node(cfg(unet), inputs, **ALL_STEPS)[2]
    assert "sigmas do not fall from step to step and the sampler does not report its steps" in blocked(found)
    with pytest.raises(ValueError, match="sigmas do not fall from step to step"):
        node(cfg(unet), inputs, strength=1.0, **ALL_STEPS)


@pytest.mark.parametrize("first", [True, False])
def test_sigmas_that_another_pack_replaces(first: bool, unet: Loaded, sampling: Sampling, pack: Callable[[str], Any]) -> None:
    """Through a wrapper that was added before or after this pack's."""
    from comfy.patcher_extension import WrappersMP

    def fewer(executor: Any, guider: Any, sigmas: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return executor(guider, sigmas[::2].contiguous(), *args, **kwargs)

    def wrap(model: Any) -> Any:
        clone = model.clone()
        clone.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, "another pack", fewer)
        return clone

    watched, levels = levels_of(unet)
    guide = pack("nodes.sampling.guidance_patch").UncertaintyGuidance.execute
    model = watched.model if first else guide(watched.model, **(MEASURING | {"strength": 1e-9})).args[0]
    _, found, _ = sampling.node(watched, model=wrap(model), steps=8, **ALL_STEPS)
    assert found.total_steps == 4 and found.steps == (0, 1, 2, 3)
    assert set(found.sigmas.tolist()) <= set(levels)
    assert found.sigmas.tolist() == sorted(found.sigmas.tolist(), reverse=True)


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_noise_levels_that_another_pack_changes_on_the_way(factor: float, unet: Loaded, node: Callable) -> None:  # noqa: F811
    """A sampler that calls the model at other noise levels than its schedule's, as detail enhancers do."""
    import comfy.samplers

    def lying(model: Any, x: Tensor, sigmas: Tensor, **options: Any) -> Tensor:
        def called(x: Tensor, sigma: Tensor, **extra: Any) -> Tensor:
            return model(x, sigma * factor, **extra)

        return comfy.samplers.k_diffusion_sampling.sample_euler(called, x, sigmas, **options)

    watched, levels = levels_of(unet)
    inputs = custom(unet, steps=20) | {"sampler": comfy.samplers.KSAMPLER(lying)}
    found = node(cfg(watched), inputs, window_start=0.25, window_end=0.6)[2]
    assert found.steps == tuple(range(5, 12))
    assert found.sigmas.tolist() == pytest.approx([levels[step] for step in found.steps])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_latents_in_half_precision(strength: float, dtype: torch.dtype, unet: Loaded, node: Callable) -> None:  # noqa: F811
    sigmas = torch.cat([torch.linspace(1.0, 0.8, 30), torch.zeros(1)])  # neighbours differ by less than half precision
    watched, levels = levels_of(unet)
    latent = {"samples": unet.latent(2)["samples"].to(dtype)}
    last = 30 if strength == 0 else 3
    window = {"window_start": 0.0, "window_end": last / 30}
    found = node(cfg(watched), custom(watched, sigmas=sigmas, latent_image=latent), strength=strength, **window)[2]
    assert found.steps == tuple(range(last))
    if strength == 0:
        assert found.sigmas.tolist() == levels[:30]
