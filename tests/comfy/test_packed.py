"""Models that sample several latents at once, which ComfyUI packs into one: each is measured and guided by itself."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from joint_graph import joint_gradient
from packed_models import PACKED, SOUND, VIDEO, masks_are_packed, nested, two_networks
from real_models import MEASURING, Loaded, Sampling

ROOT = Path(__file__).resolve().parents[2]
TWO = "two networks"
SHAPES = {TWO: (VIDEO, SOUND)} | {name: packed.shapes for name, packed in PACKED.items()}
SCORED = ("paper_score", "cfg_rejection", "score_acceleration", "prompt_information")


@pytest.fixture(scope="module", params=SHAPES)
def name(request: pytest.FixtureRequest) -> str:
    """Each model in turn, if this version of ComfyUI has it."""
    import comfy.supported_models

    if request.param != TWO and not hasattr(comfy.supported_models, PACKED[request.param].family.config):
        pytest.skip(f"this version of ComfyUI does not have {request.param}")
    return request.param


@pytest.fixture(scope="module")
def loaded(name: str, pack: Callable[[str], ModuleType]) -> Loaded:
    """Its model, built once."""
    with torch.inference_mode():
        return two_networks() if name == TWO else PACKED[name].load()


@pytest.fixture(scope="module")
def batch(name: str) -> int:
    """The batch that it can sample."""
    return 2 if name == TWO else PACKED[name].batch


@pytest.fixture(scope="module")
def two(pack: Callable[[str], ModuleType]) -> Loaded:
    """The model that every version can sample."""
    with torch.inference_mode():
        return two_networks()


@pytest.fixture
def options(pack: Callable[[str], ModuleType]) -> type:
    """The class of a run's options."""
    return pack("uncertainty.options").Options


def equal(one: Any, other: Any) -> bool:
    """Whether packed latents are equal in every part, bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(one.unbind(), other.unbind(), strict=True))


def parts_of(found: Any) -> list[Any]:
    """The maps of both parts."""
    return [found.part(number) for number in range(1 + len(found.other_parts))]


def test_measuring(name: str, loaded: Loaded, batch: int, sampling: Sampling) -> None:
    latent, found, scores = sampling.node(loaded, batch)
    assert equal(latent["samples"], sampling.plain(loaded, batch))
    assert found.steps == (2, 3) and scores == found.score().value.tolist()
    for number, (part, shape) in enumerate(zip(parts_of(found), SHAPES[name], strict=True)):
        assert part.shape == (2, batch, *shape) and part.settings["part"] == number
        assert set(part.names) >= {*part.quantities, "drift"}
        for values in (*part.quantities.values(), part.of_run["drift"]):
            assert values.isfinite().all() and values.std() > 0
        assert part.score().value.isfinite().all() and (part.score().standard_error > 0).all()


@pytest.fixture
def updates(pack: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What guidance went by, and what it did, at each guided call."""
    guided_step, seen = pack("nodes.hook.guided_step"), list[tuple[Any, Any]]()
    update = guided_step.update

    def watched(denoised: Tensor, measured: Any, *rest: Any) -> Any:
        seen.append((measured, update(denoised, measured, *rest)))
        return seen[-1][1]

    monkeypatch.setattr(guided_step, "update", watched)
    return seen


@pytest.mark.parametrize("estimator", ["filtered", "paper"])
def test_each_part_is_what_the_estimator_makes_of_it(
    estimator: str,
    name: str,
    loaded: Loaded,
    batch: int,
    sampling: Sampling,
    pack: Callable[[str], ModuleType],
    options: type,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its probes are cut out by hand, with ComfyUI's own function, and given to the estimator."""
    from comfy.utils import unpack_latents

    measurement, seen = pack("nodes.hook.measurement"), []
    estimate = measurement.estimate
    monkeypatch.setattr(measurement, "estimate", lambda *args, **given: seen.append(estimate(*args, **given)) or seen[-1])
    _, found, _ = sampling.node(loaded, batch, options=options(estimator=estimator))
    declared = pack("uncertainty.estimators").ESTIMATORS[estimator]
    shapes = [(batch, *shape) for shape in SHAPES[name]]

    def cut(packed: Tensor, part: int) -> Tensor:
        if packed.ndim == 3:
            return unpack_latents(packed, shapes)[part]
        return torch.stack([unpack_latents(each, shapes)[part] for each in packed])

    assert len(seen) == 2
    for row, measured in enumerate(seen):
        tensors = {field: getattr(measured.probes, field) for field in ("noise", "scores", "perturbed", "center", "conditional")}
        for number, part in enumerate(parts_of(found)):
            alone = replace(measured.probes, **{field: cut(tensor, number) for field, tensor in tensors.items()})
            expected, errors = declared.maps(alone, None), declared.standard_errors(alone, None)
            for quantity in expected:
                torch.testing.assert_close(part.quantities[quantity][row], expected[quantity])
                torch.testing.assert_close(part.standard_errors[quantity][row], errors[quantity])


def test_a_part_alone_has_the_same_map(sampling: Sampling) -> None:
    """Where parts do not interact, the video has the map of a video without sound."""
    apart = two_networks(crossed=False)
    _, whole, _ = sampling.node(apart)
    _, alone, _ = sampling.node(replace(apart, latent=lambda count: {"samples": torch.zeros(count, *VIDEO)}))
    assert "part" not in alone.settings and alone.other_parts == ()
    for name, values in alone.quantities.items():
        torch.testing.assert_close(whole.quantities[name], values, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole.score(), alone.score(), rtol=1e-4, atol=1e-6)


def test_an_image_does_not_depend_on_its_batch(two: Loaded, sampling: Sampling) -> None:
    _, together, _ = sampling.node(two)
    latent = two.latent(1) | {"batch_index": [1]}
    _, alone, _ = sampling.node(two, latent_image=latent)
    for one, other in zip(parts_of(together), parts_of(alone), strict=True):
        assert other.places == (1,)
        torch.testing.assert_close(one.values[:, 1:], other.values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gradient", ["exact", "forward_only"])
def test_guiding(
    gradient: str,
    name: str,
    loaded: Loaded,
    batch: int,
    sampling: Sampling,
    pack: Callable[[str], ModuleType],
    options: type,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    updates: list[tuple[Any, Any]],
) -> None:
    differentiation = pack("nodes.hook.differentiation")
    exact, differences = differentiation.exact_gradient, []

    def compare(score: Any, probes: Any, *rest: Any) -> Tensor:
        found, joint = exact(score, probes, *rest), joint_gradient(score, probes)
        differences.append(float((found - joint).norm() / joint.norm()))
        return found

    monkeypatch.setattr(differentiation, "exact_gradient", compare)
    chosen = options(gradient="auto" if gradient == "exact" else gradient)
    latent, found, _ = sampling.node(loaded, batch, strength=1.0, options=chosen)
    for part, plain in zip(latent["samples"].unbind(), sampling.plain(loaded, batch).unbind(), strict=True):
        assert part.isfinite().all() and not torch.equal(part, plain)
    parts = pack("uncertainty.parts").Parts(SHAPES[name])
    assert len(updates) == 2
    for _, changed in updates:
        for share in (where.float().mean() for where in parts.split(changed.chosen)):
            assert share == pytest.approx(0.1, abs=0.11 if name == "TripoSplat" else 0.01)  # a camera of five numbers
    if gradient == "exact":
        assert found.settings["gradient"] == "exact" and len(differences) == 2
        assert max(differences) < 1e-3, differences


def test_exact_gradients_with_little_memory(
    name: str, loaded: Loaded, batch: int, sampling: Sampling, pack: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that are computed again give the same gradient."""
    expected, _, _ = sampling.node(loaded, batch, strength=1.0)
    differentiation = pack("nodes.hook.differentiation")
    prepare = differentiation.Differentiation.prepare

    def recompute(self: Any, guider: Any) -> None:
        prepare(self, guider)
        self._recompute = True

    monkeypatch.setattr(differentiation.Differentiation, "prepare", recompute)
    found, measured, _ = sampling.node(loaded, batch, strength=1.0)
    assert measured.settings["gradient"] == "exact"
    for one, other in zip(found["samples"].unbind(), expected["samples"].unbind(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.fixture
def with_mask() -> None:
    """Skips a test where ComfyUI has no masks of packed latents."""
    if not masks_are_packed():
        pytest.skip("this version of ComfyUI does not sample packed latents with a mask")


def frames_known(batch: int, shapes: Any) -> Any:
    """A mask that keeps the beginning of the first part and nothing of the second."""
    masks = [torch.ones(batch, 1, *shape[1:]) for shape in shapes]
    if len(shapes[0]) > 2:
        masks[0][:, :, 0] = 0
    else:
        masks[0][..., : shapes[0][-1] // 2] = 0
    return nested(*masks)


@pytest.mark.usefixtures("with_mask")
def test_what_is_known_stays(name: str, loaded: Loaded, batch: int, sampling: Sampling) -> None:
    """A video that is continued from known frames, with all of its sound."""
    shapes = SHAPES[name]
    rng = torch.Generator().manual_seed(1)
    samples = nested(*(torch.randn(batch, *shape, generator=rng) for shape in shapes))
    latent = {"samples": samples, "noise_mask": frames_known(batch, shapes)}
    plain = sampling.plain(loaded, latent_image=latent)
    made, found, _ = sampling.node(loaded, latent_image=latent)
    assert equal(made["samples"], plain)
    for part, mask, shape in zip(parts_of(found), latent["noise_mask"].unbind(), shapes, strict=True):
        assert part.mask is not None and part.mask.shape == (batch, 1, *shape[1:])
        assert torch.equal(part.mask > 0, mask.expand_as(part.mask) > 0)
        assert all((values[:, ~(part.mask > 0).expand(batch, *shape)] == 0).all() for values in part.quantities.values())
        assert part.score().value.isfinite().all()
    guided, _, _ = sampling.node(loaded, latent_image=latent, strength=1.0)
    for part, before, map_ in zip(guided["samples"].unbind(), plain.unbind(), parts_of(found), strict=True):
        assert part.isfinite().all() and not torch.equal(part, before)
        known = (map_.mask == 0).expand_as(part)
        torch.testing.assert_close(part[known], before[known])


@pytest.mark.usefixtures("with_mask")
def test_sound_for_a_finished_video(
    name: str, loaded: Loaded, batch: int, sampling: Sampling, pack: Callable[[str], ModuleType], options: type,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """A mask that keeps one part whole: that part has no score, so the map and the scores are those of the other one."""
    shapes = SHAPES[name]
    masks = [torch.full((batch, 1, *shape[1:]), float(part)) for part, shape in enumerate(shapes)]
    samples = [torch.randn(batch, *shape, generator=torch.Generator().manual_seed(2)) for shape in shapes]
    latent = {"samples": nested(*samples), "noise_mask": nested(*masks)}
    made, found, scores = sampling.node(loaded, latent_image=latent)
    assert equal(made["samples"], sampling.plain(loaded, latent_image=latent))
    video, sound = found.part(0), found.part(1)
    assert video.score().value.isnan().all() and (video.values == 0).all()
    assert found.settings["part"] == 1 and torch.equal(found.values, sound.values) and sound.values.std() > 0
    assert np.isfinite(scores).all() and scores == sound.score().value.tolist()
    assert "scores were not recorded" not in caplog.text
    hook, shown = pack("nodes.hook.sampling_hook"), []
    preview = hook.with_map
    monkeypatch.setattr(hook, "with_map", lambda *given: shown.append(given[2]) or preview(*given))
    sampling.node(loaded, latent_image=latent, options=options(live_preview=True))
    assert [see() for see in shown] == [None]  # the video, which the preview shows, has no map
    execute = pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute
    assert "rejected without a valid score" in execute(video, latents=made, **SPLIT).args[9]
    assert f"kept 1 of {batch}" in execute(found, latents=made, **SPLIT).args[9]
    guided, _, _ = sampling.node(loaded, latent_image=latent, strength=1.0)
    kept, changed = guided["samples"].unbind()
    torch.testing.assert_close(kept, made["samples"].unbind()[0])
    assert changed.isfinite().all() and not torch.equal(changed, made["samples"].unbind()[1])


@pytest.mark.usefixtures("with_mask")
def test_an_empty_mask_is_refused(two: Loaded, sampling: Sampling) -> None:
    masks = nested(*(torch.zeros(1, 1, *shape[1:]) for shape in (VIDEO, SOUND)))
    with pytest.raises(ValueError, match="the noise mask is empty"):
        sampling.node(two, latent_image=two.latent(1) | {"noise_mask": masks})


@pytest.mark.parametrize("sampler", ["heun", "dpmpp_2m", "euler_cfg_pp", "uni_pc", "dpm_adaptive"])
def test_every_kind_of_sampler(sampler: str, name: str, loaded: Loaded, batch: int, sampling: Sampling) -> None:
    """With several calls a step, with earlier steps or hooks that they remember, with noise levels of their own."""
    plain = sampling.plain(loaded, batch, sampler_name=sampler)
    latent, found, _ = sampling.node(loaded, batch, sampler_name=sampler)
    assert equal(latent["samples"], plain)
    assert found.steps == (2, 3)
    guided, _, _ = sampling.node(loaded, batch, sampler_name=sampler, strength=1.0)
    for part, before in zip(guided["samples"].unbind(), plain.unbind(), strict=True):
        assert part.isfinite().all() and not torch.equal(part, before)


def test_context_windows(name: str, loaded: Loaded, sampling: Sampling) -> None:
    """ComfyUI cuts both parts into windows."""
    import comfy.context_windows as windows

    if not hasattr(loaded.model.model, "map_context_window_to_modalities"):
        pytest.skip(f"this version of ComfyUI does not sample {name} in windows")
    model = loaded.model.clone()
    model.model_options["context_handler"] = windows.IndexListContextHandler(
        context_schedule=windows.get_matching_context_schedule(windows.ContextSchedules.STATIC_STANDARD),
        fuse_method=windows.get_matching_fuse_method("pyramid"),
        context_length=2,
        context_overlap=1,
        dim=2,
    )
    cut = replace(loaded, model=model)
    latent, found, _ = sampling.node(cut, 1)
    assert equal(latent["samples"], sampling.plain(cut, 1)) and not equal(latent["samples"], sampling.plain(loaded, 1))
    for part, shape in zip(parts_of(found), SHAPES[name], strict=True):
        assert part.shape == (2, 1, *shape) and part.values.isfinite().all()


@pytest.mark.parametrize("advanced", [False, True])
def test_other_samplers(advanced: bool, two: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType]) -> None:
    """KSampler (Advanced) and SamplerCustomAdvanced."""
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import Noise_RandomNoise, SamplerCustomAdvanced

    import nodes as comfy_nodes

    latent = two.latent(2)
    if advanced:
        given = {"model": two.model, "add_noise": "enable", "noise_seed": 3, "steps": 5, "cfg": 3.0, "sampler_name": "euler"}
        given |= {"scheduler": "normal", "positive": two.positive, "negative": two.negative, "latent_image": latent}
        given |= {"start_at_step": 0, "end_at_step": 5, "return_with_leftover_noise": "disable"}
        execute = pack("nodes.sampling.ksampler_advanced").UncertaintyKSamplerAdvanced.execute
        (expected,) = comfy_nodes.KSamplerAdvanced().sample(*given.values())
        made, found, _ = execute(**given, **MEASURING).args
    else:
        guider = comfy.samplers.CFGGuider(two.model)
        guider.set_conds(two.positive, two.negative)
        guider.set_cfg(3.0)
        sigmas = comfy.samplers.calculate_sigmas(two.model.get_model_object("model_sampling"), "normal", 5)
        given = {"noise": Noise_RandomNoise(3), "guider": guider, "sampler": comfy.samplers.sampler_object("euler")}
        given |= {"sigmas": sigmas, "latent_image": latent}
        expected = SamplerCustomAdvanced.execute(**given).args[0]
        execute = pack("nodes.sampling.custom_sampler").UncertaintySamplerCustom.execute
        made, _, found, _ = execute(**given, **MEASURING).args
    assert equal(made["samples"], expected["samples"])
    _, twin, _ = sampling.node(two)
    for one, other in zip(parts_of(found), parts_of(twin), strict=True):
        assert torch.equal(one.values, other.values)


def test_a_recorded_sampling(
    name: str, loaded: Loaded, batch: int, sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    window = {key: MEASURING[key] for key in ("samples", "window_start", "window_end")}
    model, recording = pack("nodes.sampling.recording_patch").UncertaintyRecord.execute(loaded.model, **window).args
    expected, twin, _ = sampling.node(loaded, batch)
    assert equal(sampling.plain(loaded, batch, model=model), expected["samples"])
    collect = pack("nodes.sampling.collected_maps").UncertaintyCollect.execute
    (found,), _, (label,), _ = collect([recording], [None], whole=[loaded.latent(batch)]).args
    assert label == f"sampling, latent {'×'.join(map(str, reversed(SHAPES[name][0][1:])))}"
    for one, other in zip(parts_of(found), parts_of(twin), strict=True):
        assert torch.equal(one.values, other.values) and one.settings["part"] == other.settings["part"]
    (node,) = recording.before_running_node()
    maps = [values for part in parts_of(found) for values in (*part.quantities.values(), *part.of_run.values())]
    (measured,) = node.measured
    assert sorted(map(id, measured.tensors)) == sorted(map(id, (*maps, measured.latent)))


@pytest.mark.usefixtures("with_mask")
def test_a_recorded_sampling_of_the_sound_is_named_as_such(
    name: str, loaded: Loaded, batch: int, sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    """A mask keeps the video, so that map and score are those of the sound, and what the sampler was given is too."""
    shapes = SHAPES[name]
    window = {key: MEASURING[key] for key in ("samples", "window_start", "window_end")}
    model, recording = pack("nodes.sampling.recording_patch").UncertaintyRecord.execute(loaded.model, **window).args
    samples = [torch.randn(batch, *shape) for shape in shapes]
    masks = [torch.full((batch, 1, *shape[1:]), float(part)) for part, shape in enumerate(shapes)]
    latent = {"samples": nested(*samples), "noise_mask": nested(*masks)}
    sampling.plain(loaded, latent_image=latent, model=model)
    collect = pack("nodes.sampling.collected_maps").UncertaintyCollect.execute
    (found,), scores, (label,), _ = collect([recording], [None]).args
    assert found.settings["part"] == 1 and scores == found.part(1).score().value.tolist()
    assert label == f"sampling, part 1, latent {'×'.join(map(str, reversed(shapes[1][1:])))}"
    (measured,) = recording.before_running_node()[0].measured
    assert torch.equal(measured.latent, samples[1])
    (named,) = collect([recording], [None], whole=[{"samples": nested(*samples)}]).args[2]
    assert named == (label if len(shapes[1]) > 2 else f"{label}, place not found")  # a sound in one axis has no place


def test_a_recorded_sampling_ends_whatever_its_parts_are(
    two: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pack may change the latents after ComfyUI has noted their shapes."""
    window = {key: MEASURING[key] for key in ("samples", "window_start", "window_end")}
    model, recording = pack("nodes.sampling.recording_patch").UncertaintyRecord.execute(two.model, **window).args
    every_sampling = pack("nodes.hook.every_sampling")
    all_parts = every_sampling.all_parts
    monkeypatch.setattr(every_sampling, "all_parts", lambda latents, shapes: all_parts(latents[..., 1:], shapes))
    assert equal(sampling.plain(two, model=model), sampling.plain(two))
    report = pack("nodes.sampling.collected_maps").UncertaintyCollect.execute([recording], [None]).args[3]
    assert "no map, because measuring could not begin" in report


def test_a_patched_model_guides(two: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType]) -> None:
    execute = pack("nodes.sampling.guidance_patch").UncertaintyGuidance.execute
    (patched,) = execute(two.model, **(MEASURING | {"strength": 1.0})).args
    expected, _, _ = sampling.node(two, strength=1.0)
    assert equal(sampling.plain(two, model=patched), expected["samples"])


@pytest.mark.parametrize("keep", ["sum", "on_disk"])
def test_maps_are_kept_in_every_way(keep: str, two: Loaded, sampling: Sampling, options: type) -> None:
    _, expected, _ = sampling.node(two)
    _, found, _ = sampling.node(two, options=options(keep_maps=keep))
    for one, other in zip(parts_of(found), parts_of(expected), strict=True):
        torch.testing.assert_close(one.summed("denoised_variance"), other.summed("denoised_variance"))


def test_without_probes_each_part_has_what_costs_nothing(two: Loaded, sampling: Sampling) -> None:
    latent, found, _ = sampling.node(two, samples=0)
    assert equal(latent["samples"], sampling.plain(two))
    _, probed, _ = sampling.node(two)
    for one, other in zip(parts_of(found), parts_of(probed), strict=True):
        assert torch.equal(one.of_run["drift"], other.of_run["drift"])
        assert set(one.baselines) == {"cfg_rejection"}


def test_baselines_go_by_part(two: Loaded, sampling: Sampling, options: type) -> None:
    _, found, _ = sampling.node(two, options=options(baselines=SCORED))
    for part, shape in zip(parts_of(found), (VIDEO, SOUND), strict=True):
        for baseline in SCORED:
            map_, score = part.of_run[baseline], part.baselines[baseline].value
            assert map_.shape == (2, *shape) and score.shape == (2,)
            if baseline != "cfg_rejection":  # whose score is a sum of roots
                torch.testing.assert_close(map_.flatten(1).mean(1), score)
    first, second = ([part.baselines[baseline].value for baseline in SCORED] for part in parts_of(found))
    assert not any(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_a_baseline_of_a_part_alone_is_the_same(sampling: Sampling, options: type) -> None:
    apart = two_networks(crossed=False)
    chosen = options(baselines=("cfg_rejection", "score_acceleration", "prompt_information", "paper_score"))
    _, whole, _ = sampling.node(apart, options=chosen)
    _, alone, _ = sampling.node(replace(apart, latent=lambda count: {"samples": torch.zeros(count, *VIDEO)}), options=chosen)
    for baseline, (value, _) in alone.baselines.items():
        torch.testing.assert_close(whole.baselines[baseline].value, value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("control", ["random_direction", "random_mask"])
def test_control_arms_act_by_part(
    control: str,
    two: Loaded,
    sampling: Sampling,
    pack: Callable[[str], ModuleType],
    options: type,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guided_step, shapes = pack("nodes.hook.guided_step"), []
    name = {"random_direction": "random_direction", "random_mask": "random_elements"}[control]
    act = getattr(guided_step, name)

    def watched(first: Tensor, *others: Any, **given: Any) -> Tensor:
        shapes.append(first.shape)
        return act(first, *others, **given)

    monkeypatch.setattr(guided_step, name, watched)
    latent, _, _ = sampling.node(two, strength=1.0, options=options(control=control))
    for part, plain in zip(latent["samples"].unbind(), sampling.plain(two).unbind(), strict=True):
        assert part.isfinite().all() and not torch.equal(part, plain)
    assert shapes == [(2, *VIDEO), (2, *SOUND)] * 2  # two guided steps


def test_what_cannot_be_measured_by_part_says_so(
    two: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType], options: type
) -> None:
    laplace = pack("uncertainty.baselines.laplace").Laplace(torch.ones(1), None, "out.2")
    with pytest.raises(ValueError, match="bayesdiff does not support latents of several parts.*disconnect laplace"):
        sampling.node(two, options=options(baselines=("bayesdiff",), laplace=laplace))
    with pytest.raises(ValueError, match="latents must have one part each, .*connect latents of images"):
        pack("nodes.experiments.laplace_fit").UncertaintyLaplaceFit.execute([two.model], [two.latent(1)], [None], [1], [0])
    broken = {"samples": nested(torch.zeros(1, *VIDEO), torch.full((1, *SOUND), torch.nan))}
    with pytest.raises(ValueError, match="latent_image must be finite, but 640 of 640 elements are not"):
        sampling.node(two, latent_image=broken)


@pytest.fixture
def calibrate(pack: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Calibrates maps with the nodes, one after another, and saves and loads their medians."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    nodes = pack("nodes.calibrating.calibration_nodes")

    def calibrated(*maps: Any, name: str = "calibration") -> Any:
        for found in maps:
            thresholds, _, _ = nodes.UncertaintyCalibrate.execute(found, name, 50.0).args
        saved = nodes.UncertaintyThresholdsSave.execute(thresholds, f"uncertainty/{name}_thresholds").ui["files"][0]
        file = f"{saved['subfolder']}/{saved['filename']} [output]"
        (loaded,) = nodes.UncertaintyThresholdsLoad.execute(file).args
        return loaded

    return calibrated


@pytest.mark.parametrize("side", ["high", "low"])
def test_thresholds_guide_each_part_by_its_own(
    side: str,
    name: str,
    loaded: Loaded,
    batch: int,
    sampling: Sampling,
    options: type,
    calibrate: Callable[..., Any],
    updates: list[tuple[Any, Any]],
) -> None:
    """Its elements are cut out by hand, with ComfyUI's own function, and compared with what its maps alone are calibrated to."""
    from comfy.utils import unpack_latents

    maps = [sampling.node(loaded, batch, seed=seed)[1] for seed in (3, 4, 5)]
    thresholds = calibrate(*maps)
    latent, _, _ = sampling.node(loaded, batch, strength=1.0, thresholds=thresholds, options=options(mask_side=side))
    for part, before in zip(latent["samples"].unbind(), sampling.plain(loaded, batch).unbind(), strict=True):
        assert part.isfinite().all() and not torch.equal(part, before)
    shapes = [(batch, *shape) for shape in SHAPES[name]]
    assert len(updates) == 2
    for number in range(len(shapes)):
        values = torch.cat([found.part(number).values for found in maps], 1)  # (S, N, C, *spatial)
        rank = -(-values.shape[1] // 2)
        for row, (measured, changed) in enumerate(updates):
            packed = measured.quantities["score_variance"]
            tau = values[row].sort(dim=0).values[rank - 1]
            uncertainty, chosen = (unpack_latents(tensor, shapes)[number] for tensor in (packed, changed.chosen))
            assert torch.equal(chosen, uncertainty > tau if side == "high" else uncertainty < tau)
            assert chosen.any() and not chosen.all()


@pytest.mark.parametrize("number", [0, 1])
def test_a_part_that_nothing_exceeds_is_not_guided(
    number: int, sampling: Sampling, pack: Callable[[str], ModuleType], calibrate: Callable[..., Any]
) -> None:
    """The other part is guided as a latent of its own with its thresholds."""
    apart = two_networks(crossed=False)
    _, found, _ = sampling.node(apart)
    thresholds = calibrate(found)
    never = {step: tau + 1e9 for step, tau in thresholds.part(number).tau.items()}
    parts = [
        replace(each, tau=never if each.settings["part"] == number else each.tau, other_parts=()) for each in thresholds.parts
    ]
    mixed = replace(parts[0], other_parts=(parts[1],))
    latent, _, _ = sampling.node(apart, strength=1.0, thresholds=mixed)
    expected, _, _ = sampling.node(apart, strength=1.0, thresholds=thresholds)
    plain, whole, made = (each.unbind() for each in (sampling.plain(apart), expected["samples"], latent["samples"]))
    assert torch.equal(made[number], plain[number])
    assert torch.equal(made[1 - number], whole[1 - number]) and not torch.equal(made[1 - number], plain[1 - number])


def test_a_part_alone_is_guided_alike(sampling: Sampling, calibrate: Callable[..., Any]) -> None:
    """Where parts do not interact, the video is that of a video without sound, calibrated and guided by itself."""
    apart = two_networks(crossed=False)
    without = replace(apart, latent=lambda count: {"samples": torch.zeros(count, *VIDEO)})
    made = []
    for loaded in (apart, without):
        maps = [sampling.node(loaded, seed=seed)[1] for seed in (3, 4)]
        thresholds = calibrate(*maps, name=f"calibration_{len(made)}")
        made.append((thresholds, sampling.node(loaded, strength=1.0, thresholds=thresholds)[0]["samples"]))
    (together, both), (alone, video) = made
    for step, tau in alone.tau.items():
        torch.testing.assert_close(together.tau[step], tau, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both.unbind()[0], video, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("with_mask")
def test_thresholds_guide_inside_the_mask(
    name: str, loaded: Loaded, batch: int, sampling: Sampling, pack: Callable[[str], ModuleType], options: type,
    calibrate: Callable[..., Any], updates: list[tuple[Any, Any]],
) -> None:  # fmt: skip
    """Also what is below them, as known frames are."""
    thresholds = calibrate(sampling.node(loaded, batch)[1])
    mask = frames_known(batch, SHAPES[name])
    latent, below = loaded.latent(batch) | {"noise_mask": mask}, options(mask_side="low")
    sampling.node(loaded, latent_image=latent, strength=1.0, thresholds=thresholds, options=below)
    parts = pack("uncertainty.parts").Parts(SHAPES[name])
    assert len(updates) == 2
    for _, changed in updates:
        for chosen, within in zip(parts.split(changed.chosen), mask.unbind(), strict=True):
            inside = (within > 0).expand_as(chosen)
            assert not chosen[~inside].any()
            assert chosen[inside].any()


def test_a_patched_model_guides_by_thresholds(
    two: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType], calibrate: Callable[..., Any]
) -> None:
    thresholds = calibrate(sampling.node(two)[1])
    execute = pack("nodes.sampling.guidance_patch").UncertaintyGuidance.execute
    (patched,) = execute(two.model, **(MEASURING | {"strength": 1.0}), thresholds=thresholds).args
    expected, _, _ = sampling.node(two, strength=1.0, thresholds=thresholds)
    assert equal(sampling.plain(two, model=patched), expected["samples"])
    assert not equal(expected["samples"], sampling.plain(two))


def test_thresholds_of_other_latents_are_refused(two: Loaded, sampling: Sampling, calibrate: Callable[..., Any]) -> None:
    _, found, _ = sampling.node(two)
    video = replace(two, latent=lambda count: {"samples": torch.zeros(count, *VIDEO)})
    longer = replace(two, latent=lambda count: {"samples": nested(torch.zeros(count, *VIDEO), torch.zeros(count, 8, 6, 16))})
    both, first, alone = (
        calibrate(map_, name=name)
        for name, map_ in (("both", found), ("first", found.part(0)), ("alone", sampling.node(video)[1]))
    )
    for loaded, thresholds, words in (
        (two, first, "thresholds are of part 0, not of part 1: calibrate with maps of the same latents"),
        (two, alone, "thresholds are of one latent alone, not of part 0"),
        (video, both, "thresholds are of parts 0 and 1, not of one latent alone"),
        (video, first, "thresholds are of part 0, not of one latent alone"),
        (longer, both, r"thresholds of part 1 were calibrated on .* \[8, 5, 16\], but these have shape \[8, 6, 16\]"),
    ):
        for strength in (0.0, 1.0):
            with pytest.raises(ValueError, match=words):
                sampling.node(loaded, strength=strength, thresholds=thresholds)
    with pytest.raises(ValueError, match="latents: 'part 0' in the calibration, 'parts 0 and 1' now"):
        calibrate(found, name="first")
    other = replace(both.other_parts[0], settings={**both.other_parts[0].settings, "guided_quantity": "denoised_variance"})
    with pytest.raises(ValueError, match="thresholds are of denoised_variance, but guided_quantity is score_variance"):
        sampling.node(two, strength=1.0, thresholds=replace(both, other_parts=(other,)))


def test_the_filter_compares_a_part_with_its_own_calibrated_images(
    two: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType], calibrate: Callable[..., Any]
) -> None:
    """Among the calibrated images, the sound ranks as in a calibration of sounds."""
    execute = pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute
    maps = [sampling.node(two, 3, seed=seed)[1] for seed in (3, 4)]
    both = calibrate(*maps)
    split = SPLIT | {"mode": "reference", "percentile": 50.0}
    for number in (0, 1):
        alone = calibrate(*(found.part(number) for found in maps), name=f"part_{number}")
        assert torch.equal(alone.scores["denoised_variance"], both.part(number).scores["denoised_variance"])
        kept, expected = (execute(maps[0].part(number), **split, thresholds=each).args for each in (both, alone))
        assert kept[8] == expected[8] and kept[9] == expected[9] and "compared with 6 calibrated images" in kept[9]
    with pytest.raises(ValueError, match="thresholds are of part 1, not of part 0"):
        execute(maps[0], **split, thresholds=alone)


@pytest.fixture
def previews(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The previews that the server receives."""
    import comfy.utils

    sent: list[Any] = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, preview, node_id=None: sent.append(preview))
    return sent


def test_the_live_preview_shows_the_first_part(
    name: str,
    loaded: Loaded,
    batch: int,
    sampling: Sampling,
    pack: Callable[[str], ModuleType],
    options: type,
    previews: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live, decoded = pack("nodes.hook.live_preview"), []

    class Previewer(live.latent_preview.LatentPreviewer):
        def decode_latent_to_preview(self, latent: Tensor) -> Any:
            decoded.append(latent.shape)
            return live.Image.new("RGB", (16, 16))

    monkeypatch.setattr(live.latent_preview, "get_previewer", lambda *device_and_format: Previewer())
    plain = sampling.plain(loaded, batch)
    decoded.clear()
    previews.clear()
    latent, found, _ = sampling.node(loaded, batch, options=options(live_preview=True))
    assert equal(latent["samples"], plain)
    grey = [live.Image.new("RGB", (16, 16))] * batch
    expected = live.picture(found.quantity("denoised_variance")[-1], grey)
    pictures = [preview[1] for preview in previews if preview]
    assert np.array_equal(np.asarray(pictures[-1]), np.asarray(expected))
    assert decoded.count((1, *SHAPES[name][0])) >= batch * 3  # from the first recorded step on


SPLIT = {
    "mode": "keep_best", "keep": 1, "percentile": 50.0, "threshold": 0.0, "quantity": "denoised_variance", "reject": "highest",
    "window_start": 0.0, "window_end": 1.0, "when_none_pass": "block",
}  # fmt: skip


@pytest.mark.parametrize("number", [0, 1])
def test_the_filter_selects_all_parts(number: int, two: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType]) -> None:
    made, found, _ = sampling.node(two, 3)
    made |= {"noise_mask": nested(torch.ones(3, 1, *VIDEO[1:]), torch.ones(1, 1, *SOUND[1:]))}
    part, scores = pack("nodes.looking.map_part").UncertaintyPart.execute(found, number).args
    assert scores == found.part(number).score().value.tolist()
    uncertainty = found if number == 0 else part
    outputs = pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute(uncertainty, latents=made, **SPLIT).args
    _, kept, _, kept_map, _, rejected, _, _, indices, *_ = outputs
    best = int(torch.tensor(scores).argmin())
    others = [image for image in range(3) if image != best]
    assert indices == [best] and kept["batch_index"] == [best] and rejected["batch_index"] == others
    for all_, one, rest in zip(*(each["samples"].unbind() for each in (made, kept, rejected)), strict=True):
        assert torch.equal(one, all_[[best]]) and torch.equal(rest, all_[others])
    assert [len(mask) for mask in rejected["noise_mask"].unbind()] == [2, 1]
    for one in (kept_map, *kept_map.other_parts):
        assert one.images == 1 and one.settings["sorted_out"] is False
    frames = torch.rand(3 * 7, 8, 8, 3)
    pictures = pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute(uncertainty, images=frames, **SPLIT).args[0]
    assert torch.equal(pictures, frames[7 * best : 7 * best + 7])
    with pytest.raises(ValueError, match="latents has 3 entries, but the map has 1"):
        pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute(kept_map, latents=made, **SPLIT)


def test_the_map_of_a_sound_has_no_pictures(two: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType]) -> None:
    _, found, _ = sampling.node(two, 2)
    preview = pack("nodes.looking.map_preview").UncertaintyMapPreview.execute
    shown = ("denoised_variance", -1, "magma", 0.6, "image")
    with pytest.raises(ValueError, match="images must not be connected, .* this map is of part 1, such as its sound"):
        preview(found.part(1), *shown, torch.rand(2 * 5, 8, 8, 3))
    assert len(preview(found.part(1), *shown).args[0]) == 2


def test_between_nodes_that_join_and_separate_video_and_sound(sampling: Sampling, pack: Callable[[str], ModuleType]) -> None:
    """ComfyUI's own; the mask of the video has one number a frame."""
    from comfy_extras import nodes_lt

    if not hasattr(nodes_lt, "LTXVConcatAVLatent"):
        pytest.skip("this version of ComfyUI does not have these nodes")
    loaded = PACKED["LTX-2"].load()
    video, sound = (torch.randn(2, *shape, generator=torch.Generator().manual_seed(4)) for shape in SHAPES["LTX-2"])
    known = torch.ones(2, 1, 3, 1, 1)
    known[:, :, 0] = 0
    (joined,) = nodes_lt.LTXVConcatAVLatent.execute({"samples": video, "noise_mask": known}, {"samples": sound}).args
    made, found, scores = sampling.node(loaded, latent_image=joined)
    assert equal(made["samples"], sampling.plain(loaded, latent_image=joined))
    first, second = parts_of(found)
    assert torch.equal(first.mask, known.expand(2, 1, 3, 2, 3)) and (second.mask == 1).all()
    execute = pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute
    kept = execute(found, latents=made, **SPLIT).args[1]
    separated = nodes_lt.LTXVSeparateAVLatent.execute(kept).args
    best = int(torch.tensor(scores).argmin())
    for part, whole in zip(separated, made["samples"].unbind(), strict=True):
        assert torch.equal(part["samples"], whole[[best]]) and len(part["noise_mask"]) == 1


def test_there_is_no_third_part(two: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType]) -> None:
    _, found, _ = sampling.node(two)
    with pytest.raises(ValueError, match="part must be between 0 and 1, got 2: this map has 2 parts"):
        pack("nodes.looking.map_part").UncertaintyPart.execute(found, 2)


def test_all_parts_are_saved_and_loaded(
    two: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    _, found, _ = sampling.node(two)
    files = pack("uncertainty.storage.tensor_files")
    files.save_map(tmp_path / "map.safetensors", found)
    again = files.load_map(tmp_path / "map.safetensors")
    for one, other in zip(parts_of(again), parts_of(found), strict=True):
        assert all(torch.equal(one.quantities[name], values) for name, values in other.quantities.items())
        assert torch.equal(one.of_run["drift"], other.of_run["drift"]) and dict(one.settings) == dict(other.settings)


def test_the_nodes_that_look_take_any_part(two: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType]) -> None:
    _, found, _ = sampling.node(two)
    for number, height in ((0, 48), (1, 40)):
        part = found.part(number)
        look = {"quantity": "denoised_variance", "step": -1, "colormap": "magma", "opacity": 1.0, "normalize": "batch"}
        heatmap, _ = pack("nodes.looking.map_preview").UncertaintyMapPreview.execute(uncertainty=part, **look).args
        assert heatmap.shape[1] == height and heatmap.isfinite().all()
        masked = {"quantity": "denoised_variance", "percentile": 90.0, "grow": 0, "feather": 0, "steps": ""}
        (mask,) = pack("nodes.looking.map_to_mask").UncertaintyToMask.execute(uncertainty=part, **masked).args
        assert 0 < mask.mean() < 0.2


def test_references_are_of_one_part(two: Loaded, sampling: Sampling, pack: Callable[[str], ModuleType]) -> None:
    """The sampler records both, and never compares the sound with the video. Looking at a part records nothing."""
    access, prints = pack("nodes.choosing.ledger_access"), pack("uncertainty.storage.fingerprints")
    execute = pack("nodes.looking.map_part").UncertaintyPart.execute

    def recorded(found: Any) -> list[int]:
        """Number of recorded images that each part is compared with."""
        names = [(prints.fingerprint(part), part.settings["prompt"]) for part in parts_of(found)]
        return [access.ledger().standing(*name, "denoised_variance", torch.empty(0)).count for name in names]

    _, found, _ = sampling.node(two, seed=70)
    video, sound = recorded(found)
    for seed in (71, 72):
        _, found, _ = sampling.node(two, seed=seed)
    for number in (0, 1, 1):
        execute(found, number)
    assert recorded(found) == [video + 4, sound + 4]  # two images each


def test_the_documentation_lists_what_is_tested() -> None:
    rows = [line.split(" | ") for line in (ROOT / "docs" / "families.md").read_text(encoding="utf-8").splitlines()]
    listed = {row[0].strip("| "): row[1:3] for row in rows if row[0].startswith("| ")}
    for name, packed in PACKED.items():
        shapes = ", ".join("×".join(map(str, shape)) for shape in packed.shapes)
        assert listed[name] == [f"`{packed.family.config}`", shapes], name
