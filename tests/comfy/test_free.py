"""What costs no evaluation: the drift of every run, and runs of samples 0."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from test_beside_others import blocked
from test_custom_sampler import cfg, custom, node  # noqa: F401 (fixtures)

from real_models import Loaded, Sampling

FREE = {"samples": 0, "steps": 9}


def counted(loaded: Loaded) -> tuple[Any, list[int]]:
    """The model, and the images of each call of it."""
    seen: list[int] = []

    def count(apply: Callable, args: dict) -> torch.Tensor:
        seen.append(len(args["input"]))
        return apply(args["input"], args["timestep"], **args["c"])

    clone = loaded.model.clone()
    clone.set_model_unet_function_wrapper(count)
    return clone, seen


def denoised(loaded: Loaded, sampling: Sampling, steps: int, **changed: Any) -> torch.Tensor:
    """x̂0 of every step of KSampler."""
    import comfy.sample

    inputs = sampling.inputs(loaded) | changed
    latent = comfy.sample.fix_empty_latent_channels(inputs["model"], inputs["latent_image"]["samples"])
    seen: list[torch.Tensor] = []
    comfy.sample.sample(
        inputs["model"], comfy.sample.prepare_noise(latent, inputs["seed"]), steps, inputs["cfg"], inputs["sampler_name"],
        inputs["scheduler"], inputs["positive"], inputs["negative"], latent, disable_pbar=True, seed=inputs["seed"],
        callback=lambda step, x0, x, total: seen.append(x0.clone()),
    )  # fmt: skip
    return torch.stack(seen)


def test_the_drift_is_what_the_sampler_saw(loaded: Loaded, sampling: Sampling) -> None:
    latent, found, _ = sampling.node(loaded, steps=9)
    expected = denoised(loaded, sampling, 9)[5:].diff(dim=0).square().sum(0)
    torch.testing.assert_close(found.summed("drift"), expected.float(), rtol=1e-4, atol=1e-7)
    score = found.score("drift")
    torch.testing.assert_close(score.value, expected.flatten(1).mean(1).float(), rtol=1e-4, atol=1e-7)
    assert score.standard_error.tolist() == [0.0, 0.0]
    assert torch.equal(latent["samples"], sampling.plain(loaded, steps=9))


def test_without_probes_the_model_is_called_as_by_ksampler(loaded: Loaded, sampling: Sampling) -> None:
    model, plain_calls = counted(loaded)
    expected = sampling.plain(loaded, steps=9, model=model)
    model, calls = counted(loaded)
    latent, found, scores = sampling.node(loaded, model=model, **FREE)
    assert torch.equal(latent["samples"], expected) and calls == plain_calls
    assert found.names == ("drift", "cfg_rejection") and found.steps == ()
    assert scores == found.score("drift").value.tolist()
    assert dict(found.settings["evaluations"]) == {}


def test_what_is_free_equals_what_a_measuring_run_finds(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    loaded = loaded_models["sd15"]
    options = pack("uncertainty.options").Options(baselines=("cfg_rejection",))
    _, measured, _ = sampling.node(loaded, steps=9, options=options)
    _, free, _ = sampling.node(loaded, **FREE)
    for name in ("drift", "cfg_rejection"):
        assert torch.equal(measured.of_run[name], free.of_run[name])
        assert torch.equal(measured.score(name).value, free.score(name).value)


def test_without_cfg_only_the_drift_is_free(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    _, found, _ = sampling.node(loaded_models["sd15"], cfg=1.0, **FREE)
    assert found.names == ("drift",) and not found.baselines


def test_a_run_with_nothing_free_says_so(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    latent, found, _ = sampling.node(loaded_models["sd15"], cfg=1.0, samples=0, steps=1)
    assert "Set samples to 5" in blocked(found) and torch.isfinite(latent["samples"]).all()


def test_the_drift_outside_a_noise_mask_is_zero(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    loaded = loaded_models["sd15"]
    size = loaded.latent(1)["samples"].shape[-1]
    mask = torch.zeros(1, 1, size, size)
    mask[..., : size // 2] = 1
    _, found, _ = sampling.node(loaded, **FREE, latent_image=loaded.latent(2) | {"noise_mask": mask})
    drift = found.summed("drift")
    assert not drift[..., size // 2 :].any() and drift[..., : size // 2].all()
    torch.testing.assert_close(found.score("drift").value, drift[..., : size // 2].flatten(1).mean(1))


def test_other_samplers_of_several_calls_a_step_have_a_drift(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    for sampler in ("heun", "dpmpp_2m", "dpmpp_sde", "dpmpp_2s_ancestral", "uni_pc", "lcm"):
        _, found, _ = sampling.node(loaded_models["sd15"], **FREE, sampler_name=sampler)
        assert (found.summed("drift") > 0).any(), sampler


def test_the_custom_sampler_measures_nothing_too(loaded_models: dict[str, Loaded], node: Callable) -> None:  # noqa: F811
    loaded = loaded_models["sd15"]
    _, _, found, scores = node(cfg(loaded), custom(loaded, steps=9), samples=0)
    assert found.names == ("drift", "cfg_rejection") and scores == found.score("drift").value.tolist()


@pytest.mark.parametrize("name", ["paper_score", "mc_dropout"])
def test_baselines_that_evaluate_are_refused(
    name: str, loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    options = pack("uncertainty.options").Options(baselines=(name,))
    with pytest.raises(ValueError, match=f"{name} evaluates the model, but samples is 0"):
        sampling.node(loaded_models["sd15"], **FREE, options=options)


def test_baselines_that_cost_nothing_are_measured(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    options = pack("uncertainty.options").Options(baselines=("score_acceleration",))
    _, found, _ = sampling.node(loaded_models["sd15"], **FREE, options=options)
    assert set(found.names) == {"drift", "cfg_rejection", "score_acceleration"}
    assert dict(found.settings["evaluations"]) == {} and set(found.baselines) == {"cfg_rejection", "score_acceleration"}


def test_guidance_needs_probes(loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    with pytest.raises(ValueError, match="strength must be 0 if samples is 0"):
        sampling.node(loaded_models["sd15"], **FREE, strength=1.0)
    with pytest.raises(ValueError, match="samples must be at least 2, got 1"):
        sampling.node(loaded_models["sd15"], samples=1)


def test_every_node_takes_such_a_map(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    _, found, _ = sampling.node(loaded_models["sd15"], **FREE)
    files = pack("uncertainty.storage.tensor_files")
    files.save_map(tmp_path / "map.safetensors", found)
    again = files.load_map(tmp_path / "map.safetensors")
    assert again.names == found.names and again.steps == () and torch.equal(again.summed("drift"), found.summed("drift"))
    assert torch.equal(again.score("cfg_rejection").value, found.score("cfg_rejection").value)
    view = pack("nodes.looking.map_preview").UncertaintyMapPreview
    colours = next(iter(pack("uncertainty.images.heatmaps").COLORMAPS))
    heatmap, _ = view.execute(found, "drift", -1, colours, 0.5, "image").args
    assert len(heatmap) == found.images
    mask = pack("nodes.looking.map_to_mask").UncertaintyToMask
    assert mask.execute(found, "cfg_rejection", 90.0, 0, 0.0, "").args[0].any()
    picker = pack("nodes.choosing.score_filter").UncertaintyScoreFilter
    chosen = picker.execute(found, "keep_best", 1, 50.0, 0.0, "drift", "highest", 0.0, 1.0, "block").args
    assert chosen[8] == [int(found.score("drift").value.argmin())]
    with pytest.raises(ValueError, match="this map has no denoised_variance, because samples was 0: set samples to 5"):
        picker.execute(found, "keep_best", 1, 50.0, 0.0, "denoised_variance", "highest", 0.0, 1.0, "block")
    with pytest.raises(ValueError, match="no recorded steps to plot, because samples was 0"):
        pack("nodes.looking.step_plot").UncertaintyPlot.execute(found)
    record = pack("uncertainty.storage.records").records_of(found)[0]
    assert set(record.scores) == {"drift", "cfg_rejection"} and record.digest


def test_baselines_have_maps(loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType]) -> None:
    names = ("paper_score", "mc_dropout", "cfg_rejection", "score_acceleration", "prompt_information")
    _, found, _ = sampling.node(loaded_models["demo-eps"], steps=9, options=pack("uncertainty.options").Options(baselines=names))
    for name in names:
        values, score = found.summed(name), found.score(name).value
        assert values.shape == found.shape[1:] and values.any(), name
        assert (values >= 0).all() or name == "prompt_information"
        if name != "cfg_rejection":  # a sum of roots
            torch.testing.assert_close(score, values.flatten(1).mean(1))


def test_the_acceleration_is_the_second_difference_of_the_noise(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    loaded, steps = loaded_models["sd15"], 6
    options = pack("uncertainty.options").Options(baselines=("score_acceleration",))
    _, found, _ = sampling.node(loaded, steps=steps, options=options)
    noise = torch.stack(_noise_predictions(loaded, sampling, steps))
    torch.testing.assert_close(found.summed("score_acceleration"), noise.diff(n=2, dim=0).abs().sum(0), rtol=1e-3, atol=1e-4)


def _noise_predictions(loaded: Loaded, sampling: Sampling, steps: int) -> list[torch.Tensor]:
    from comfy.patcher_extension import WrappersMP

    seen: list[torch.Tensor] = []

    def watch(executor: Any, x: torch.Tensor, timestep: torch.Tensor, *args: Any) -> torch.Tensor:
        made = executor(x, timestep, *args)
        seen.append((x - made) / timestep.reshape(-1, 1, 1, 1))
        return made

    clone = loaded.model.clone()
    clone.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "watch", watch)
    sampling.plain(loaded, model=clone, steps=steps)
    return seen
