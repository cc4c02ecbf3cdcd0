"""Baselines in a real ComfyUI: they leave the image unchanged, count their evaluations and refuse what they cannot measure."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from limited_model import limited
from real_models import Loaded, Sampling

WITHOUT_DROPOUT = ("paper_score", "cfg_rejection", "prompt_information")
ALL = (*WITHOUT_DROPOUT, "mc_dropout", "bayesdiff")


@pytest.fixture
def options(pack: Callable[[str], ModuleType]) -> Callable[..., Any]:
    """The class of a run's options."""
    return pack("uncertainty.options").Options


@pytest.fixture
def fit(pack: Callable[[str], ModuleType]) -> Callable[[Loaded], Any]:
    """A Laplace approximation of a model's last layer on random images."""

    def fitted(loaded: Loaded, images: int = 2, passes: int = 2) -> Any:
        channels = loaded.model.model.latent_format.latent_channels
        shape = (images, channels, *loaded.latent(1)["samples"].shape[2:])
        samples = torch.randn(shape, generator=torch.Generator().manual_seed(4))
        node = pack("nodes.experiments.laplace_fit").UncertaintyLaplaceFit
        return node.execute([loaded.model], [{"samples": samples}], [loaded.positive], [passes], [0]).args[0]

    return fitted


def test_the_image_stays_bit_identical(
    loaded: Loaded, sampling: Sampling, options: Callable[..., Any], fit: Callable[[Loaded], Any]
) -> None:
    has_dropout = any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in loaded.model.model.modules())
    chosen = ALL if has_dropout else (*WITHOUT_DROPOUT, "bayesdiff")
    latent, found, _ = sampling.node(loaded, options=options(baselines=chosen, laplace=fit(loaded)))
    assert torch.equal(latent["samples"], sampling.plain(loaded))
    assert set(found.baselines) == set(chosen)
    for name in chosen:
        score = found.score(name).value
        assert score.shape == (2,) and torch.isfinite(score).all(), name
        assert (score > 0).all() or name == "prompt_information"
        assert score[0] != score[1], name
    again = sampling.node(loaded, options=options(baselines=chosen, laplace=fit(loaded)))[1]
    assert all(torch.equal(found.score(name).value, again.score(name).value) for name in chosen)


@pytest.mark.parametrize("name", ["paper_score", "mc_dropout", "prompt_information"])
def test_a_baseline_that_runs_out_of_memory_goes_on_one_by_one(
    name: str, loaded_models: dict[str, Loaded], sampling: Sampling, options: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    loaded = loaded_models["demo-eps"]
    _, expected, _ = sampling.node(loaded, options=options(baselines=(name,)))
    with limited(loaded.model, lambda batch, _: batch <= 4) as failures:
        latent, found, _ = sampling.node(loaded, options=options(baselines=(name,)))
    assert torch.equal(latent["samples"], sampling.plain(loaded))
    assert len(failures) > 2  # the map's two steps, and the baseline's
    assert torch.isfinite(found.score(name).value).all()
    if name != "mc_dropout":  # whose masks are drawn for each call
        torch.testing.assert_close(found.score(name).value, expected.score(name).value, rtol=1e-3, atol=1e-5)
    assert "continues with one at a time" in caplog.text


@pytest.mark.parametrize("sampler", ["euler_ancestral", "heun", "dpmpp_2m_sde", "uni_pc", "euler_cfg_pp"])
def test_every_sampler_is_left_alone(
    sampler: str, loaded_models: dict[str, Loaded], sampling: Sampling, options: Callable[..., Any], fit: Callable[[Loaded], Any]
) -> None:
    loaded = loaded_models["demo-eps"]
    chosen = options(baselines=ALL, laplace=fit(loaded))
    torch.manual_seed(0)
    plain = sampling.plain(loaded, sampler_name=sampler)
    after_ksampler = torch.get_rng_state()
    torch.manual_seed(0)
    latent, found, _ = sampling.node(loaded, sampler_name=sampler, options=chosen)
    assert torch.equal(latent["samples"], plain)
    assert torch.equal(torch.get_rng_state(), after_ksampler)
    assert set(found.baselines) == set(ALL)


def test_evaluations_are_counted(
    loaded_models: dict[str, Loaded], sampling: Sampling, options: Callable[..., Any], fit: Callable[[Loaded], Any]
) -> None:
    loaded = loaded_models["demo-eps"]
    _, found, _ = sampling.node(loaded, steps=11, samples=3, options=options(baselines=ALL, laplace=fit(loaded)))
    steps = len(found.steps)
    # Of 11 steps 0, 5 and 10 carry variance. The first has no variance to draw from.
    assert found.settings["evaluations"] == {
        "map": 3 * steps,
        "paper_score": 3 * steps,
        "mc_dropout": 3 * steps,
        "bayesdiff": 3 + 20,
        "prompt_information": 3,
    }


def test_paper_score_is_the_maps_by_the_papers_estimator(
    loaded_models: dict[str, Loaded], sampling: Sampling, options: Callable[..., Any]
) -> None:
    _, found, _ = sampling.node(loaded_models["demo-eps"], samples=16, options=options(baselines=("paper_score",)))
    torch.testing.assert_close(found.score("paper_score").value, found.score("score_variance").value, rtol=0.03, atol=0)


def test_cfg_rejection_sees_both_predictions(
    loaded_models: dict[str, Loaded], sampling: Sampling, options: Callable[..., Any]
) -> None:
    loaded = loaded_models["demo-eps"]
    same = replace(loaded, negative=loaded.positive)
    chosen = options(baselines=("cfg_rejection",))
    assert sampling.node(same, options=chosen)[1].score("cfg_rejection").value.abs().max() < 1e-5
    # Only the first steps count, here two of five. The window of the map has no effect on them.
    _, found, _ = sampling.node(loaded, options=chosen)
    _, other, _ = sampling.node(loaded, options=chosen, window_start=0.6, window_end=0.8)
    assert torch.equal(found.score("cfg_rejection").value, other.score("cfg_rejection").value)


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_prompt_information_compares_both_prompts_at_an_early_level(
    cfg: float,
    loaded_models: dict[str, Loaded],
    sampling: Sampling,
    options: Callable[..., Any],
    pack: Callable[[str], ModuleType],
) -> None:
    """Computed once more with ComfyUI's own sampling and evaluation of both prompts. The window ends earlier: no effect."""
    import comfy.sample
    import comfy.samplers

    loaded, steps, seed = loaded_models["demo-eps"], 10, 5
    module, chosen = pack("uncertainty.baselines.prompt_information"), options(baselines=("prompt_information",))
    _, found, _ = sampling.node(loaded, steps=steps, cfg=cfg, seed=seed, samples=4, options=chosen)
    late = module.image_step(steps)
    assert late == 8 and late not in found.steps
    predicted: dict[int, Tensor] = {}

    def keep(step: int, denoised: Tensor, x: Tensor, total: int) -> None:
        predicted[step] = denoised

    empty = comfy.sample.fix_empty_latent_channels(loaded.model, loaded.latent(sampling.images)["samples"])
    noise = comfy.sample.prepare_noise(empty, seed)
    prompts = (loaded.positive, loaded.negative)
    comfy.sample.sample(loaded.model, noise, steps, cfg, "euler", "normal", *prompts, empty, callback=keep, seed=seed)
    image = predicted[late]
    sigmas = comfy.samplers.calculate_sigmas(loaded.model.get_model_object("model_sampling"), "normal", steps)
    early = module.level_step(late, steps)
    stream = pack("nodes.hook.model_call").stream(seed, pack("nodes.hook.baselines.prompt_information_run")._STREAM)
    noise = pack("uncertainty.probes").probe_noise(image.shape[1:], 4, stream, early, 0, range(2), orthogonally=True)
    both: list[Tensor] = []

    class Asking(comfy.samplers.CFGGuider):
        def predict_noise(self, x: Tensor, timestep: Tensor, model_options: Any = None, seed: Any = None) -> Tensor:
            conds = [self.conds["positive"], self.conds["negative"]]
            z = (image + sigmas[early] * noise).flatten(0, 1)
            made = comfy.samplers.calc_cond_batch(self.inner_model, conds, z, sigmas[early].expand(len(z)), model_options)
            both[:] = [part.reshape(noise.shape) for part in made]
            return x

    asking = Asking(loaded.model)
    asking.set_conds(loaded.positive, loaded.negative)
    sampler, nothing = comfy.samplers.sampler_object("euler"), torch.zeros_like(image)
    asking.sample(nothing, nothing, sampler, torch.tensor([1.0, 0.5]), disable_pbar=True)
    expected = module.information(*both, image).mean((1, 2, 3))
    torch.testing.assert_close(found.score("prompt_information").value, expected, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(found.summed("prompt_information").mean((1, 2, 3)), found.score("prompt_information").value)


def test_equal_prompts_tell_nothing(loaded_models: dict[str, Loaded], sampling: Sampling, options: Callable[..., Any]) -> None:
    loaded, chosen = loaded_models["demo-flow"], options(baselines=("prompt_information",))
    apart = sampling.node(loaded, options=chosen)[1].score("prompt_information").value
    equal = sampling.node(replace(loaded, negative=loaded.positive), options=chosen)[1].score("prompt_information").value
    assert equal.abs().max() < 1e-5
    assert (apart.abs() > 1e-3).all()


def test_what_cannot_be_measured_is_said_before_sampling(
    loaded_models: dict[str, Loaded], sampling: Sampling, options: Callable[..., Any], fit: Callable[[Loaded], Any]
) -> None:
    with pytest.raises(ValueError, match="cfg_rejection needs one positive prompt, one negative prompt and a cfg other than 1"):
        sampling.node(loaded_models["sd15"], cfg=1.0, options=options(baselines=("cfg_rejection",)))
    with pytest.raises(ValueError, match="mc_dropout needs a model that was trained with dropout, but UNetModel has no"):
        sampling.node(loaded_models["sd15"], options=options(baselines=("mc_dropout",)))
    with pytest.raises(ValueError, match=r"laplace was fitted to out.2 .*, but this model has final_layer.linear"):
        sampling.node(loaded_models["sd3"], options=options(baselines=("bayesdiff",), laplace=fit(loaded_models["sd15"])))
    with pytest.raises(ValueError, match="connect Fit Laplace to Uncertainty Baselines"):
        sampling.node(loaded_models["sd15"], options=options(baselines=("bayesdiff",)))


def test_scores_stay_inside_a_noise_mask(
    loaded_models: dict[str, Loaded], sampling: Sampling, options: Callable[..., Any], fit: Callable[[Loaded], Any]
) -> None:
    loaded = loaded_models["demo-eps"]
    mask = torch.zeros(1, 32, 32)
    mask[:, 8:24, 8:24] = 1
    latent = {"samples": torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)), "noise_mask": mask}
    chosen = options(baselines=ALL, laplace=fit(loaded))
    _, found, _ = sampling.node(replace(loaded, latent=lambda batch: latent), options=chosen)
    assert found.mask is not None
    assert all(torch.isfinite(found.score(name).value).all() for name in ALL)


def test_the_tail_behind_the_last_layer_is_what_becomes_of_its_output(loaded: Loaded, pack: Callable[[str], ModuleType]) -> None:
    import comfy.samplers

    last_layer = pack("nodes.hook.last_layer")
    checked = []

    class Check(comfy.samplers.Sampler):
        """Runs the check in place of a sampler."""

        def sample(
            self, guider: Any, sigmas: Tensor, extra_args: dict, callback: Any, noise: Tensor, image: Tensor, *rest: Any
        ) -> Tensor:
            layer = last_layer.LastLayer(guider.inner_model.diffusion_model)
            sigma = torch.full((1,), float(guider.inner_model.model_sampling.percent_to_sigma(0.4)))
            x = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))[:1]
            denoised = lambda z, s: guider(z, s, model_options=extra_args["model_options"])  # noqa: E731
            tail = layer.tail(denoised, x, sigma)
            before = denoised(x, sigma)
            change = torch.randn(1, *tail.shape, generator=torch.Generator().manual_seed(2))
            handle = layer.module.register_forward_hook(lambda module, given, output: output + change)
            after = denoised(x, sigma)
            handle.remove()
            moved = tail.scale * change.flatten(1)[:, tail.place].reshape(1, *tail.scale.shape)
            torch.testing.assert_close(after - before, moved, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(tail.variance(change.square()), moved.square())
            # The gradient is the transpose of the same linear map.
            back = torch.randn(moved.shape, generator=torch.Generator().manual_seed(3))
            torch.testing.assert_close((tail.gradient(back) * change).sum(), (back * moved).sum(), rtol=1e-3, atol=1e-3)
            checked.append(tail.shape)
            return image

    guider = comfy.samplers.CFGGuider(loaded.model)
    guider.set_conds(loaded.positive, loaded.positive)
    guider.set_cfg(1.0)
    empty = loaded.latent(1)["samples"][:, : loaded.model.model.latent_format.latent_channels]
    guider.sample(torch.zeros_like(empty), empty, Check(), torch.ones(2), disable_pbar=True)
    assert len(checked) == 1


def test_filter_sorts_by_a_baseline_and_files_keep_it(
    loaded_models: dict[str, Loaded],
    sampling: Sampling,
    options: Callable[..., Any],
    pack: Callable[[str], ModuleType],
    tmp_path: Path,
) -> None:
    chosen = options(baselines=WITHOUT_DROPOUT)
    _, found, _ = sampling.node(loaded_models["demo-eps"], batch=4, options=chosen)
    files, metadata = pack("uncertainty.storage.tensor_files"), pack("uncertainty.storage.picture_entry")
    files.save_map(tmp_path / "map.safetensors", found)
    loaded = files.load_map(tmp_path / "map.safetensors")
    assert torch.equal(loaded.score("cfg_rejection").value, found.score("cfg_rejection").value)
    inputs = {
        "mode": "keep_best", "keep": 1, "percentile": 50.0, "threshold": 0.0, "quantity": "cfg_rejection", "reject": "lowest",
        "window_start": 0.0, "window_end": 1.0, "when_none_pass": "block",
    }  # fmt: skip
    node = pack("nodes.choosing.score_filter").UncertaintyScoreFilter
    kept = node.execute(uncertainty=loaded, **inputs).args[8]
    assert kept == [int(found.score("cfg_rejection").value.argmax())]
    with pytest.raises(ValueError, match="bayesdiff was not measured with this map: connect Fit Laplace"):
        node.execute(uncertainty=loaded, **inputs | {"quantity": "bayesdiff"})
    with pytest.raises(ValueError, match="mode 'reference' has no earlier scores of cfg_rejection"):
        node.execute(uncertainty=loaded, **inputs | {"mode": "reference"})
    assert f'"cfg_rejection": [{float(found.score("cfg_rejection").value[2])}' in metadata.entry(found, 2)


def test_the_node_adds_to_options(pack: Callable[[str], ModuleType], options: Callable[..., Any]) -> None:
    node = pack("nodes.experiments.baseline_options").UncertaintyBaselines
    switches = {"paper_score": False, "mc_dropout": True, "cfg_rejection": True, "control": "random_mask"}
    (chosen,) = node.execute(**switches, options=options(estimator="paper")).args
    assert chosen == options(estimator="paper", baselines=("mc_dropout", "cfg_rejection"), control="random_mask")
    laplace = pack("uncertainty.baselines.laplace").Laplace(torch.ones(1), None, "out.2")
    (chosen,) = node.execute(**switches, laplace=laplace).args
    assert chosen.baselines == ("mc_dropout", "bayesdiff", "cfg_rejection") and chosen.laplace is laplace
    assert "control must be one of" in str(node.validate_inputs(control="other"))
    with pytest.raises(ValueError, match="baselines must be one of"):
        options(baselines=("other",))


def test_control_arms_guide_as_much_elsewhere(
    loaded_models: dict[str, Loaded], sampling: Sampling, options: Callable[..., Any]
) -> None:
    loaded = loaded_models["demo-eps"]
    plain = sampling.plain(loaded)
    images = {}
    for control in ("none", "random_direction", "random_mask"):
        guided, found, _ = sampling.node(loaded, strength=1.0, options=options(control=control))
        images[control] = guided["samples"]
        assert found.settings["control"] == control
        assert not torch.equal(guided["samples"], plain)
        again = sampling.node(loaded, strength=1.0, options=options(control=control))[0]
        assert torch.equal(again["samples"], guided["samples"])
    assert not torch.equal(images["none"], images["random_direction"])
    assert not torch.equal(images["none"], images["random_mask"])


def test_what_is_measured_may_be_the_prompt_alone(
    loaded_models: dict[str, Loaded], sampling: Sampling, options: Callable[..., Any], fit: Callable[[Loaded], Any]
) -> None:
    loaded = loaded_models["demo-eps"]
    found = {}
    for source in ("guided", "conditional"):
        chosen = options(baselines=ALL, laplace=fit(loaded), score_source=source)
        latent, found[source], _ = sampling.node(loaded, options=chosen)
        assert torch.equal(latent["samples"], sampling.plain(loaded))
    for name in ("paper_score", "mc_dropout", "bayesdiff"):
        assert not torch.equal(found["guided"].score(name).value, found["conditional"].score(name).value)
    # The image is sampled with CFG in both cases.
    assert torch.equal(found["guided"].score("cfg_rejection").value, found["conditional"].score("cfg_rejection").value)


def test_guiders_of_more_prompts_are_refused_by_name(
    loaded_models: dict[str, Loaded], options: Callable[..., Any], fit: Callable[[Loaded], Any], pack: Callable[[str], ModuleType]
) -> None:
    import comfy.samplers
    from comfy_extras import nodes_custom_sampler

    loaded = loaded_models["sd15"]
    guider = nodes_custom_sampler.DualCFGGuider.execute(
        loaded.model, loaded.positive, loaded.positive, loaded.negative, 3.0, 2.0, "regular"
    )
    inputs = {
        "noise": nodes_custom_sampler.RandomNoise.execute(1).args[0], "guider": guider.args[0],
        "sigmas": torch.tensor([2.0, 1.0, 0.0]),
        "sampler": comfy.samplers.sampler_object("euler"), "latent_image": loaded.latent(1), "samples": 2, "strength": 0.0,
        "percentile": 95.0, "window_start": 0.0, "window_end": 1.0,
    }  # fmt: skip
    node = pack("nodes.sampling.custom_sampler").UncertaintySamplerCustom
    with pytest.raises(
        ValueError, match="bayesdiff needs one positive and at most one negative prompt, but Guider_DualCFG has positive"
    ):
        node.execute(**inputs, options=options(baselines=("bayesdiff",), laplace=fit(loaded)))
    with pytest.raises(ValueError, match="cfg_rejection needs one positive prompt, one negative prompt"):
        node.execute(**inputs, options=options(baselines=("cfg_rejection",)))
    inputs["guider"] = nodes_custom_sampler.BasicGuider.execute(loaded.model, loaded.positive).args[0]
    with pytest.raises(ValueError, match="prompt_information compares a positive with a negative prompt, but Guider_Basic has p"):
        node.execute(**inputs, options=options(baselines=("prompt_information",)))
