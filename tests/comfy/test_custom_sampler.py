"""UncertaintySamplerCustom compared with SamplerCustomAdvanced, UncertaintyGuidance in other samplers, and their options."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from real_models import MEASURING, Loaded, Sampling, conditioning, patcher


def basic(loaded: Loaded) -> Any:
    from comfy_extras.nodes_custom_sampler import BasicGuider

    return BasicGuider.execute(loaded.model, loaded.positive).args[0]


def cfg(loaded: Loaded) -> Any:
    from comfy_extras.nodes_custom_sampler import CFGGuider

    return CFGGuider.execute(loaded.model, loaded.positive, loaded.negative, 3.0).args[0]


def dual(style: str) -> Callable[[Loaded], Any]:
    def build(loaded: Loaded) -> Any:
        from comfy_extras.nodes_custom_sampler import DualCFGGuider

        middle = conditioning(7, 16, 16, seed=5)
        return DualCFGGuider.execute(loaded.model, loaded.positive, middle, loaded.negative, 3.0, 2.0, style).args[0]

    return build


def perpendicular(loaded: Loaded) -> Any:
    from comfy_extras.nodes_perpneg import PerpNegGuider

    empty = conditioning(7, 16, 16, seed=5)
    return PerpNegGuider.execute(loaded.model, loaded.positive, loaded.negative, empty, 3.0, 1.0).args[0]


def two_models(loaded: Loaded, attach: Callable[[Any], None] = lambda other: None) -> Any:
    """The negative prompt in a model of its own, as in Ideogram 4, to which something may be attached."""
    from comfy_extras import nodes_custom_sampler

    if not hasattr(nodes_custom_sampler, "DualModelGuider"):
        pytest.skip("this ComfyUI has no DualModelGuider")
    model = loaded.model.model
    other = patcher(type(model)(model.model_config, model.model_type), gain=1.5)
    attach(other)
    return nodes_custom_sampler.DualModelGuider.execute(loaded.model, loaded.positive, 3.0, other, loaded.negative).args[0]


GUIDERS: dict[str, tuple[Callable[[Loaded], Any], str]] = {
    "basic": (basic, "sd15"),
    "basic, Flux": (basic, "flux"),
    "cfg": (cfg, "sd15"),
    "cfg, SD3": (cfg, "sd3"),
    "dual": (dual("regular"), "sd15"),
    "dual nested": (dual("nested"), "sd15"),
    "perpendicular negative": (perpendicular, "sd15"),
}


def custom(loaded: Loaded, sampler: str = "euler", steps: int = 5, batch: int = 2, **changed: Any) -> dict[str, Any]:
    """Inputs of SamplerCustomAdvanced without the guider, equivalent to ``Sampling.inputs`` for KSampler."""
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import Noise_RandomNoise

    sigmas = comfy.samplers.calculate_sigmas(loaded.model.get_model_object("model_sampling"), "normal", steps)
    inputs = {"noise": Noise_RandomNoise(3), "sampler": comfy.samplers.sampler_object(sampler), "sigmas": sigmas}
    return inputs | {"latent_image": loaded.latent(batch)} | changed


@pytest.fixture
def plain() -> Callable[..., tuple[dict, dict]]:
    """SamplerCustomAdvanced."""
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    return lambda guider, inputs: SamplerCustomAdvanced.execute(guider=guider, **inputs).args


@pytest.fixture
def node(pack: Callable[[str], ModuleType]) -> Callable[..., tuple[dict, dict, Any, list]]:
    """UncertaintySamplerCustom, by default without guidance."""
    execute = pack("nodes.sampling.custom_sampler").UncertaintySamplerCustom.execute
    return lambda guider, inputs, **changed: execute(guider=guider, **inputs, **(MEASURING | changed)).args


@pytest.fixture
def guidance(pack: Callable[[str], ModuleType]) -> Callable[..., Loaded]:
    """UncertaintyGuidance with strength 1."""
    execute = pack("nodes.sampling.guidance_patch").UncertaintyGuidance.execute

    def patch(loaded: Loaded, **changed: Any) -> Loaded:
        return replace(loaded, model=execute(loaded.model, **(MEASURING | {"strength": 1.0} | changed)).args[0])

    return patch


@pytest.fixture
def options(pack: Callable[[str], ModuleType]) -> Callable[..., Any]:
    """UncertaintyOptions with its defaults."""
    cls = pack("nodes.sampling.uncertainty_options").UncertaintyOptions
    defaults = {field.id: field.default for field in cls.define_schema().inputs}
    return lambda **changed: cls.execute(**(defaults | changed)).args[0]


def counted(loaded: Loaded) -> tuple[Loaded, list[int]]:
    """The model, and a list that collects the size of every batch that goes through its network."""
    sizes: list[int] = []

    def count(apply: Callable, args: dict) -> torch.Tensor:
        sizes.append(len(args["input"]))
        return apply(args["input"], args["timestep"], **args["c"])

    model = loaded.model.clone()
    model.set_model_unet_function_wrapper(count)
    return replace(loaded, model=model), sizes


def same(one: Any, other: Any) -> bool:
    """Whether two maps are equal bit for bit."""
    return all(torch.equal(one.quantities[name], other.quantities[name]) for name in other.quantities)


def different(one: dict, other: dict) -> bool:
    return bool(torch.isfinite(one["samples"]).all()) and not torch.equal(one["samples"], other["samples"])


@pytest.mark.parametrize("name", GUIDERS)
def test_beside_every_guider(
    name: str, loaded_models: dict[str, Loaded], plain: Callable, node: Callable, pack: Callable[[str], ModuleType]
) -> None:
    build, family = GUIDERS[name]
    loaded = loaded_models[family]
    guider, inputs = build(loaded), custom(loaded, steps=6)
    inputs["sigmas"] = inputs["sigmas"][:-1]  # ends with noise left, so the two latents differ
    before = {**vars(guider)}
    output, denoised = plain(guider, inputs)
    assert different(output, denoised)
    measured, measured_denoised, found, scores = node(guider, inputs)
    assert torch.equal(measured["samples"], output["samples"])
    assert torch.equal(measured_denoised["samples"], denoised["samples"])
    assert found.steps == (2, 3) and found.total_steps == 5
    assert found.values.shape == (2, *output["samples"].shape)
    assert all(torch.isfinite(values).all() for values in found.quantities.values())
    assert scores == found.score("denoised_variance").value.tolist()
    guided, guided_denoised, *_ = node(guider, inputs, strength=1.0)
    assert different(guided, output) and different(guided_denoised, denoised)
    assert torch.equal(node(guider, inputs, strength=1.0)[0]["samples"], guided["samples"])
    assert torch.equal(plain(guider, inputs)[0]["samples"], output["samples"]), "the guider was left with a run in it"
    assert vars(guider).keys() == before.keys() and all(vars(guider)[key] is value for key, value in before.items())


def test_beside_a_guider_with_two_models(
    loaded_models: dict[str, Loaded], plain: Callable, node: Callable, options: Callable
) -> None:
    """The exact gradient goes through both."""
    loaded = loaded_models["sd15"]
    output, _ = plain(two_models(loaded), custom(loaded))
    measured, *_ = node(two_models(loaded), custom(loaded))
    assert torch.equal(measured["samples"], output["samples"])
    guided, *_ = node(two_models(loaded), custom(loaded), strength=1.0, options=options(gradient="exact"))
    assert different(guided, output)


def test_what_is_attached_to_the_second_model_is_seen(
    loaded_models: dict[str, Loaded], node: Callable, options: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets one copy of the batch per call, and is named where it could notice probes."""
    sizes: list[int] = []

    def attach(other: Any) -> None:
        other.model.diffusion_model.register_forward_pre_hook(lambda network, args: sizes.append(len(args[0])))

    loaded = loaded_models["sd15"]
    *_, found, _ = node(two_models(loaded, attach), custom(loaded), options=options(live_preview=True))
    assert found.steps == (2, 3)
    assert set(sizes) == {2}
    assert "live_preview shows no map, because test_custom_sampler." in caplog.text


def test_the_larger_of_two_models_says_how_many_probes_fit(
    loaded_models: dict[str, Loaded], node: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.samplers

    predict, sizes = comfy.samplers.calc_cond_batch, []

    def seen(model: Any, conds: list, x: torch.Tensor, *args: Any) -> Any:
        sizes.append(len(x))
        return predict(model, conds, x, *args)

    def large(other: Any) -> None:
        needed = other.model.memory_required
        monkeypatch.setattr(other.model, "memory_required", lambda shape, *args, **kwargs: 2**50 * needed(shape, *args, **kwargs))

    monkeypatch.setattr(comfy.samplers, "calc_cond_batch", seen)
    loaded = loaded_models["sd15"]
    node(two_models(loaded), custom(loaded))
    assert set(sizes) == {2, 2 * 3}
    sizes.clear()
    node(two_models(loaded, large), custom(loaded))
    assert set(sizes) == {2}


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_the_same_sampling_as_the_ksampler_node(
    strength: float, loaded: Loaded, sampling: Sampling, node: Callable, options: Callable
) -> None:
    """The same noise, schedule and probes give the same image, map and scores."""
    latent, expected, expected_scores = sampling.node(loaded, strength=strength)
    output, _, found, scores = node(cfg(loaded), custom(loaded), strength=strength, options=options())
    assert torch.equal(output["samples"], latent["samples"])
    assert same(found, expected)
    assert scores == expected_scores


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2m_sde", "ddim", "uni_pc", "euler_cfg_pp"])
def test_measuring_leaves_samplers_alone(sampler: str, loaded_models: dict[str, Loaded], plain: Callable, node: Callable) -> None:
    loaded = loaded_models["sd15"]
    inputs = custom(loaded, sampler)
    output, denoised = plain(cfg(loaded), inputs)
    measured, measured_denoised, found, _ = node(cfg(loaded), inputs)
    assert torch.equal(measured["samples"], output["samples"])
    assert torch.equal(measured_denoised["samples"], denoised["samples"])
    assert found.steps == (2, 3)


def test_masks_and_batch_indices_go_the_same_way(
    loaded_models: dict[str, Loaded], plain: Callable, node: Callable, sampling: Sampling
) -> None:
    loaded = loaded_models["sd15"]
    mask = torch.zeros(1, 64, 64)
    mask[:, :, :32] = 1
    content = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    latent = {"samples": content, "noise_mask": mask, "batch_index": [4, 2], "kept": "as it is"}
    inputs = custom(loaded, latent_image=latent)
    expected = plain(cfg(loaded), inputs)
    measured = node(cfg(loaded), inputs)
    for ours, theirs in zip(measured[:2], expected, strict=True):
        assert ours.keys() == theirs.keys() and ours["kept"] == "as it is" and ours["batch_index"] == [4, 2]
        assert torch.equal(ours["samples"], theirs["samples"])
    _, beside, _ = sampling.node(loaded, latent_image=latent)
    assert same(measured[2], beside) and torch.equal(measured[2].mask, beside.mask)
    alone = {"samples": content[1:], "noise_mask": mask, "batch_index": [2]}
    _, _, single, _ = node(cfg(loaded), custom(loaded, latent_image=alone))
    expected_alone = measured[2].select([1]).values
    assert (single.values - expected_alone).norm() / expected_alone.norm() < 1e-4


def test_previews_are_the_same(
    loaded_models: dict[str, Loaded], plain: Callable, node: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    import latent_preview

    prepare, shown = latent_preview.prepare_callback, []

    def watch(model: Any, steps: int, x0_output_dict: dict | None = None) -> Callable:
        callback = prepare(model, steps, x0_output_dict)
        return lambda step, x0, x, total: (shown.append((step, total, x0, x)), callback(step, x0, x, total))

    monkeypatch.setattr(latent_preview, "prepare_callback", watch)
    loaded = loaded_models["sd15"]
    plain(cfg(loaded), custom(loaded))
    expected, shown[:] = shown[:], []
    node(cfg(loaded), custom(loaded))
    assert [seen[:2] for seen in shown] == [seen[:2] for seen in expected] == [(step, 5) for step in range(5)]
    assert all(torch.equal(a, b) for one, two in zip(shown, expected, strict=True) for a, b in zip(one[2:], two[2:], strict=True))


def test_settings_tell_guider_sampler_and_schedule(loaded_models: dict[str, Loaded], node: Callable) -> None:
    from comfy_extras.nodes_custom_sampler import Noise_EmptyNoise, SamplerEulerAncestral

    loaded = loaded_models["sd15"]
    inputs = custom(loaded, sampler="dpm_fast", noise=Noise_EmptyNoise())
    _, _, found, _ = node(dual("nested")(loaded), inputs, window_start=0.0, window_end=1.0)
    settings = json.loads(json.dumps(dict(found.settings)))
    expected = {
        "samples": 3, "seed": 0, "steps": 5, "sampler": "dpm_fast", "sampler_options": {}, "guider": "Guider_DualCFG",
        "guider_options": {"cfg": 1.0, "cfg1": 3.0, "cfg2": 2.0, "nested": True},
    }  # fmt: skip
    assert settings["sigmas"] == pytest.approx(inputs["sigmas"].tolist(), rel=1e-4)
    assert {name: settings[name] for name in expected} == expected
    (ancestral,) = SamplerEulerAncestral.execute(0.5, 1.0).args
    _, _, found, _ = node(cfg(loaded), custom(loaded) | {"sampler": ancestral})
    assert found.settings["sampler"] == "euler_ancestral" and found.settings["seed"] == 3
    assert found.settings["sampler_options"] == {"eta": 0.5, "s_noise": 1.0}
    ancestral.extra_options["s_noise"] = math.inf  # JSON has no infinity
    found = node(cfg(loaded), custom(loaded) | {"sampler": ancestral})[2]
    assert found.settings["sampler_options"]["s_noise"] == "inf"


@pytest.mark.parametrize("name", ["custom_sampler.UncertaintySamplerCustom", "guidance_patch.UncertaintyGuidance"])
def test_a_window_without_steps_is_refused_before_anything_runs(name: str, pack: Callable[[str], ModuleType]) -> None:
    module, _, cls = name.partition(".")
    check = getattr(pack(f"nodes.sampling.{module}"), cls).validate_inputs
    assert check(window_start=0.5, window_end=0.9) is check(window_start=0.5) is True
    assert "window_start must be below window_end, got 0.9 and 0.5" in check(window_start=0.9, window_end=0.5)


def test_nothing_measured(loaded_models: dict[str, Loaded], plain: Callable, node: Callable) -> None:
    from comfy_execution.graph import ExecutionBlocker

    loaded = loaded_models["sd15"]
    inputs = custom(loaded, sigmas=torch.FloatTensor([]))
    output, denoised, found, scores = node(cfg(loaded), inputs)
    expected = plain(cfg(loaded), inputs)
    assert torch.equal(output["samples"], expected[0]["samples"]) and torch.equal(denoised["samples"], expected[1]["samples"])
    assert isinstance(found, ExecutionBlocker) and isinstance(scores[0], ExecutionBlocker)
    assert "no model call fell inside the window" in found.message and "a sampler other than euler" in found.message


@pytest.mark.parametrize("name", GUIDERS)
def test_conditional_scores_take_the_positive_prompt_alone(
    name: str, loaded_models: dict[str, Loaded], plain: Callable, node: Callable, options: Callable
) -> None:
    build, family = GUIDERS[name]
    loaded, sizes = counted(loaded_models[family])
    inputs = custom(loaded)
    output, _ = plain(build(loaded), inputs)
    without = sum(sizes)
    extra, maps = {}, {}
    for source in ("guided", "conditional"):
        sizes.clear()
        measured, _, maps[source], _ = node(build(loaded), inputs, options=options(score_source=source))
        extra[source] = sum(sizes) - without
        assert torch.equal(measured["samples"], output["samples"])
        assert maps[source].settings["score_source"] == source
    prompts = len(build(loaded).original_conds)
    # Two images, two recorded steps, three probes. Conditional scores also need the prediction at the starting point.
    assert extra == {"guided": 2 * 2 * 3 * prompts, "conditional": 2 * 2 * (3 + 1)}
    guided, *_ = node(build(loaded), inputs, strength=1.0, options=options(score_source="conditional"))
    assert different(guided, output)
    # With a single prompt both scores are the same.
    difference = (maps["conditional"].values - maps["guided"].values).norm() / maps["guided"].values.norm()
    assert difference < 1e-4 if prompts == 1 else difference > 1e-3


def test_conditional_scores_need_a_positive_prompt(loaded_models: dict[str, Loaded], node: Callable, options: Callable) -> None:
    import comfy.samplers

    class Unprompted(comfy.samplers.CFGGuider):
        """A guider of another pack, with its own names of prompts."""

        def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, model_options: Any = None, seed: Any = None) -> Any:
            return comfy.samplers.calc_cond_batch(self.inner_model, [self.conds["mine"]], x, timestep, model_options)[0]

    loaded, sizes = counted(loaded_models["sd15"])
    guider = Unprompted(loaded.model)
    guider.inner_set_conds({"mine": loaded.positive})
    assert node(guider, custom(loaded))[2].steps == (2, 3)
    sizes.clear()
    with pytest.raises(ValueError, match="needs a positive prompt, but Unprompted has none: set it to guided"):
        node(guider, custom(loaded), options=options(score_source="conditional"))
    assert not sizes


def test_options_are_those_of_the_node(pack: Callable[[str], ModuleType], options: Callable) -> None:
    schema = pack("nodes.sampling.uncertainty_options").UncertaintyOptions.define_schema()
    known = pack("uncertainty.options").Options
    of_experiments = ["baselines", "laplace", "control"]  # set by UncertaintyBaselines
    assert [field.id for field in schema.inputs] + of_experiments == list(known.__dataclass_fields__)
    assert options() == known()
    values: dict[str, Sequence] = {field.id: getattr(field, "options", (0, 7)) for field in schema.inputs}
    for name, choices in values.items():
        for choice in choices:
            assert options(**{name: choice}) == known(**{name: choice})
            check = pack("nodes.sampling.uncertainty_options").UncertaintyOptions.validate_inputs
            assert name in ("max_batch", "live_preview", "map_memory") or check(**{name: choice}) is True
    assert "'nothing'" in check(gradient="nothing")


def test_options_reach_the_run(loaded_models: dict[str, Loaded], node: Callable, options: Callable) -> None:
    loaded = loaded_models["sd15"]
    chosen = options(
        estimator="centered", gradient="forward_only", mask_scope="channel", mask_side="low", direction="descend",
        guided_quantity="denoised_variance",
    )  # fmt: skip
    output, _, found, _ = node(cfg(loaded), custom(loaded), strength=1.0, options=chosen)
    expected = {
        "estimator": "centered", "gradient": "forward_only", "mask_scope": "channel", "mask_side": "low", "direction": "descend",
        "guided_quantity": "denoised_variance",
    }  # fmt: skip
    assert expected.items() <= found.settings.items()
    assert different(output, node(cfg(loaded), custom(loaded), strength=1.0)[0])


def test_guidance_is_that_of_the_ksampler_node(loaded: Loaded, sampling: Sampling, guidance: Callable) -> None:
    expected, _, _ = sampling.node(loaded, strength=1.0)
    patched = guidance(loaded)
    for _ in range(2):  # every call of sampling is a separate run
        assert torch.equal(sampling.plain(patched), expected["samples"])
    assert not torch.equal(sampling.plain(loaded), expected["samples"])


def test_guidance_of_runs_that_differ(loaded_models: dict[str, Loaded], sampling: Sampling, guidance: Callable) -> None:
    """No state of a run stays in the model: neither seed nor schedule nor batch."""
    loaded = loaded_models["sd15"]
    patched = guidance(loaded)
    first = sampling.plain(patched)
    for run in ({"seed": 4}, {"steps": 8, "denoise": 0.7}, {"batch": 3}, {"sampler_name": "heun"}, {"scheduler": "karras"}):
        assert torch.equal(sampling.plain(patched, **run), sampling.node(loaded, strength=1.0, **run)[0]["samples"])
    assert torch.equal(sampling.plain(patched), first)


def test_guidance_in_custom_samplers(
    loaded_models: dict[str, Loaded], plain: Callable, node: Callable, guidance: Callable
) -> None:
    from comfy_extras.nodes_custom_sampler import SamplerCustom

    loaded = loaded_models["sd15"]
    patched, inputs = guidance(loaded), custom(loaded)
    expected = node(cfg(loaded), inputs, strength=1.0)
    for ours, theirs in zip(plain(cfg(patched), inputs), expected[:2], strict=True):
        assert torch.equal(ours["samples"], theirs["samples"])
    rest = (inputs["sampler"], inputs["sigmas"], inputs["latent_image"])
    output, _ = SamplerCustom.execute(patched.model, True, 3, 3.0, loaded.positive, loaded.negative, *rest).args
    assert torch.equal(output["samples"], expected[0]["samples"])
    without_seed = cfg(patched).sample(
        inputs["noise"].generate_noise(inputs["latent_image"]), loaded.latent(2)["samples"], *rest[:2]
    )
    assert different({"samples": without_seed}, output)


def test_guidance_of_strength_zero_is_none(loaded_models: dict[str, Loaded], sampling: Sampling, guidance: Callable) -> None:
    loaded, sizes = counted(loaded_models["sd15"])
    expected = sampling.plain(loaded)
    calls = list(sizes)
    sizes.clear()
    assert torch.equal(sampling.plain(guidance(loaded, strength=0.0)), expected)
    assert sizes == calls


def test_guidance_takes_thresholds_and_options(
    loaded_models: dict[str, Loaded], sampling: Sampling, guidance: Callable, options: Callable, pack: Callable[[str], ModuleType]
) -> None:
    loaded = loaded_models["sd15"]
    thresholds = pack("uncertainty.thresholds").Thresholds
    nothing = thresholds({step: torch.tensor(1e9) for step in (2, 3)})
    assert torch.equal(sampling.plain(guidance(loaded, thresholds=nothing)), sampling.plain(loaded))
    with pytest.raises(ValueError, match=r"thresholds cover steps \[2\], not step 3"):
        sampling.plain(guidance(loaded, thresholds=thresholds({2: torch.tensor(0.0)})))
    chosen = options(gradient="forward_only", direction="descend")
    expected, _, _ = sampling.node(loaded, strength=1.0, options=chosen)
    assert torch.equal(sampling.plain(guidance(loaded, options=chosen)), expected["samples"])


def test_guidance_passes_by_what_it_cannot_guide(
    loaded_models: dict[str, Loaded], sampling: Sampling, guidance: Callable
) -> None:
    """For example, a tiled upscaler may pass a tile in which the mask is empty."""
    loaded = loaded_models["sd15"]
    latent = {"samples": torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))}
    empty = latent | {"noise_mask": torch.zeros(1, 64, 64)}
    patched = guidance(loaded)
    assert torch.equal(sampling.plain(patched, latent_image=empty), sampling.plain(loaded, latent_image=empty))
    thin = torch.zeros(1, 64, 64)
    thin[:, 1] = 1  # disappears at the size of the latent
    thin = latent | {"noise_mask": thin}
    assert torch.equal(sampling.plain(patched, latent_image=thin), sampling.plain(loaded, latent_image=thin))
    half = latent | {"noise_mask": torch.cat([torch.zeros(1, 64, 32), torch.ones(1, 64, 32)], 2)}
    guided = sampling.plain(patched, latent_image=half)
    assert torch.equal(guided, sampling.node(loaded, latent_image=half, strength=1.0)[0]["samples"])


def test_guidances_on_one_model_act_in_turn(loaded_models: dict[str, Loaded], sampling: Sampling, guidance: Callable) -> None:
    loaded, sizes = counted(loaded_models["sd15"])
    early, late = {"window_start": 0.2, "window_end": 0.4}, {"window_start": 0.6, "window_end": 0.8, "strength": -2.0}

    def sampled(model: Loaded) -> tuple[torch.Tensor, int]:
        sizes.clear()
        return sampling.plain(model), sum(sizes)

    bare, one, other = sampled(loaded), sampled(guidance(loaded, **early)), sampled(guidance(loaded, **late))
    both = sampled(guidance(guidance(loaded, **early), **late))
    assert both[1] - bare[1] == (one[1] - bare[1]) + (other[1] - bare[1]), "probes went through the other's hook"
    assert torch.equal(
        both[0], sampled(guidance(guidance(loaded, **late), **early))[0]
    )  # the order is irrelevant for separate windows
    assert len({*map(float, (bare[0].sum(), one[0].sum(), other[0].sum(), both[0].sum()))}) == 4
    twice = sampled(guidance(guidance(loaded, **early), **early))
    assert twice[1] - bare[1] == 2 * (one[1] - bare[1])
    assert different({"samples": twice[0]}, {"samples": one[0]})


def test_a_sampler_measures_what_the_guidance_made(
    loaded_models: dict[str, Loaded], sampling: Sampling, guidance: Callable, node: Callable
) -> None:
    loaded, sizes = counted(loaded_models["sd15"])
    patched = guidance(loaded)
    guided = sampling.plain(patched)
    alone = sum(sizes)
    sizes.clear()
    measured, found, _ = sampling.node(patched)
    assert torch.equal(measured["samples"], guided)
    assert sum(sizes) - alone == 2 * 2 * 3 * 2, "probes went through the other's hook"
    output, _, beside, _ = node(cfg(patched), custom(patched))
    assert torch.equal(output["samples"], guided)
    assert same(beside, found)
    assert not same(found, sampling.node(loaded)[1])
    more, _, _ = sampling.node(patched, strength=1.0)
    assert different(more, measured)


@pytest.mark.parametrize("cache_first", [True, False])
def test_guidance_beside_a_step_cache(
    cache_first: bool, loaded_models: dict[str, Loaded], sampling: Sampling, guidance: Callable
) -> None:
    from comfy_extras.nodes_easycache import EasyCacheNode

    def cached(model: Loaded) -> Loaded:
        return replace(model, model=EasyCacheNode.execute(model.model, 0.2, 0.15, 0.95, False).args[0])

    loaded = loaded_models["sd15"]
    expected, _, _ = sampling.node(cached(loaded), steps=20, strength=1.0)
    both = guidance(cached(loaded)) if cache_first else cached(guidance(loaded))
    for _ in range(2):
        assert torch.equal(sampling.plain(both, steps=20), expected["samples"])
