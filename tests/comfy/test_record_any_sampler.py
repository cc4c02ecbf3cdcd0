"""UncertaintyRecord and UncertaintyCollect beside this pack's samplers, in ComfyUI's own samplers."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from real_models import MEASURING, Loaded, Sampling

WINDOW = {name: MEASURING[name] for name in ("samples", "window_start", "window_end")}


@pytest.fixture
def record(pack: Callable[[str], ModuleType]) -> Callable[..., tuple[Any, Any]]:
    """Model and recording of UncertaintyRecord."""
    execute = pack("nodes.sampling.recording_patch").UncertaintyRecord.execute
    return lambda model, **changed: execute(model, **(WINDOW | changed)).args


@pytest.fixture
def collect(pack: Callable[[str], ModuleType]) -> Callable[..., tuple[list, list[float], list[str], str]]:
    """Maps, scores, names and report of UncertaintyCollect, without a graph."""
    execute = pack("nodes.sampling.collected_maps").UncertaintyCollect.execute
    return lambda *recordings, **whole: execute(list(recordings), [None], **whole).args


def custom(loaded: Loaded, model: Any, latent: dict, advanced: bool, **changed: Any) -> torch.Tensor:
    """The latent of SamplerCustom or SamplerCustomAdvanced."""
    from comfy_extras import nodes_custom_sampler as nodes

    sampler = nodes.KSamplerSelect.execute("heun").args[0]
    sigmas = nodes.BasicScheduler.execute(model, "normal", 5, 1.0).args[0]
    if not advanced:
        made = nodes.SamplerCustom.execute(
            model, True, 3, 3.0, loaded.positive, loaded.negative, sampler, sigmas, latent, **changed
        )
        return made.args[0]["samples"]
    guider = nodes.CFGGuider.execute(model, loaded.positive, loaded.negative, 3.0).args[0]
    noise = nodes.RandomNoise.execute(3).args[0]
    return nodes.SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).args[0]["samples"]


def same(one: Any, other: Any) -> bool:
    """Whether two maps are equal, bit for bit."""
    return one.steps == other.steps and all(
        torch.equal(one.quantities[name], other.quantities[name]) for name in other.quantities
    )


@pytest.mark.parametrize("sampler", ["euler", "dpm_2", "uni_pc", "euler_cfg_pp"])
def test_ksampler_gives_the_map_of_its_twin(
    sampler: str, loaded: Loaded, sampling: Sampling, record: Callable, collect: Callable
) -> None:
    _, expected, expected_scores = sampling.node(loaded, sampler_name=sampler)
    model, recording = record(loaded.model)
    latent = sampling.plain(loaded, model=model, sampler_name=sampler)
    assert torch.equal(latent, sampling.plain(loaded, sampler_name=sampler))
    (found,), scores, names, report = collect(recording)
    assert same(found, expected) and torch.equal(found.of_run["drift"], expected.of_run["drift"])
    assert scores == expected_scores
    side = latent.shape[-1]
    assert names == [f"sampling, latent {side}×{side}"]
    assert report.startswith(f"{names[0]}: denoised_variance {scores[0]:.4g}, ")


def test_advanced_ksampler_gives_the_map_of_its_twin(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable, record: Callable, collect: Callable
) -> None:
    import nodes as comfy_nodes

    loaded = loaded_models["sd15"]
    inputs = {name: value for name, value in sampling.inputs(loaded).items() if name not in ("seed", "denoise")}
    inputs |= {
        "add_noise": "enable",
        "noise_seed": 3,
        "start_at_step": 1,
        "end_at_step": 4,
        "return_with_leftover_noise": "enable",
    }
    twin = pack("nodes.sampling.ksampler_advanced").UncertaintyKSamplerAdvanced
    expected_latent, expected, _ = twin.execute(**inputs, **MEASURING).args
    model, recording = record(loaded.model)
    (latent,) = comfy_nodes.KSamplerAdvanced().sample(**(inputs | {"model": model}))
    assert torch.equal(latent["samples"], expected_latent["samples"])
    assert same(collect(recording)[0][0], expected)


@pytest.mark.parametrize("advanced", [False, True], ids=["SamplerCustom", "SamplerCustomAdvanced"])
def test_custom_samplers_give_the_map_of_their_twin_with_its_settings(
    advanced: bool, loaded_models: dict[str, Loaded], pack: Callable, record: Callable, collect: Callable
) -> None:
    from comfy_extras import nodes_custom_sampler as nodes

    loaded = loaded_models["flux"]
    guider = nodes.CFGGuider.execute(loaded.model, loaded.positive, loaded.negative, 3.0).args[0]
    noise, sampler = nodes.RandomNoise.execute(3).args[0], nodes.KSamplerSelect.execute("heun").args[0]
    sigmas = nodes.BasicScheduler.execute(loaded.model, "normal", 5, 1.0).args[0]
    twin = pack("nodes.sampling.custom_sampler").UncertaintySamplerCustom
    measuring = MEASURING | {"percentile": 95.0}  # the default, which the recorded settings name
    _, _, expected, _ = twin.execute(noise, guider, sampler, sigmas, loaded.latent(2), **measuring).args
    model, recording = record(loaded.model)
    latent = custom(loaded, model, loaded.latent(2), advanced)
    assert torch.equal(latent, custom(loaded, loaded.model, loaded.latent(2), advanced))
    (found,) = collect(recording)[0]
    assert same(found, expected)
    if advanced:
        assert dict(found.settings) == dict(expected.settings)


def test_each_sampling_has_its_map_and_a_clone_of_the_model_records_too(
    loaded_models: dict[str, Loaded], sampling: Sampling, record: Callable, collect: Callable
) -> None:
    loaded = loaded_models["sd15"]
    model, recording = record(loaded.model)
    first = sampling.plain(loaded, model=model, seed=4)
    again = {"samples": torch.nn.functional.interpolate(first, scale_factor=2.0)}
    sampling.plain(loaded, model=model.clone(), seed=5, latent_image=again, denoise=0.6)
    sampling.plain(loaded, seed=6)  # the model without the patch
    maps, scores, names, _ = collect(recording)
    assert [each.settings["seed"] for each in maps] == [4, 5]
    assert names == ["sampling, 1 of 2, latent 8×8", "sampling, 2 of 2, latent 16×16"]
    assert scores == [score for each in maps for score in each.score().value.tolist()]
    assert same(maps[0], sampling.node(loaded, seed=4)[1])


def test_tiles_are_named_by_where_they_lie(
    loaded_models: dict[str, Loaded], sampling: Sampling, record: Callable, collect: Callable
) -> None:
    loaded = loaded_models["sd15"]
    whole = torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(1))
    model, recording = record(loaded.model)
    for x, y in ((0, 0), (16, 8)):
        tile = {"samples": whole[..., y : y + 8, x : x + 8].clone()}
        sampling.plain(loaded, model=model, latent_image=tile, denoise=0.6)
    sampling.plain(loaded, model=model, latent_image={"samples": whole}, denoise=0.6)
    sampling.plain(loaded, model=model, batch=1)  # an empty latent
    sampling.plain(loaded, model=model, latent_image={"samples": whole.flip(-1)}, denoise=0.6)
    names = collect(recording, whole=[{"samples": whole}])[2]
    assert names == [
        "sampling, 1 of 5, latent 8×8 at x 0, y 0",
        "sampling, 2 of 5, latent 8×8 at x 16, y 8",
        "sampling, 3 of 5, latent 24×16",
        "sampling, 4 of 5, latent 8×8",
        "sampling, 5 of 5, latent 24×16, place not found",
    ]


def test_a_sampling_without_a_map_is_named_and_the_others_come_out(
    loaded_models: dict[str, Loaded], sampling: Sampling, record: Callable, collect: Callable
) -> None:
    """As where a tiled upscaler passes a tile in which the mask is empty."""
    loaded = loaded_models["sd15"]
    model, recording = record(loaded.model)
    empty = {"samples": torch.randn(1, 4, 8, 8), "noise_mask": torch.zeros(1, 1, 64, 64)}
    assert torch.equal(sampling.plain(loaded, model=model, latent_image=empty), sampling.plain(loaded, latent_image=empty))
    sampling.plain(loaded, model=model)
    maps, _, names, report = collect(recording)
    assert len(maps) == 1 and names == ["sampling, 2 of 2, latent 8×8"]
    assert report.startswith("sampling, 1 of 2, latent 8×8: no map, because the noise mask is empty")


def test_a_disk_that_is_full_at_the_end_costs_only_the_map(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable, record: Callable, collect: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Nothing but the latent, which is kept first, fits into memory."""
    loaded = loaded_models["sd15"]
    room = pack("uncertainty.room").Room

    def full(self: Any, shape: Any, dtype: Any) -> torch.Tensor:
        raise OSError("maps of 1 MB do not fit on the disk")

    monkeypatch.setattr(room, "mapped", full)
    monkeypatch.setattr(pack("uncertainty.options").Options, "memory", loaded.latent(2)["samples"].nbytes)
    model, recording = record(loaded.model, samples=0)
    assert torch.equal(sampling.plain(loaded, 2, model=model), sampling.plain(loaded, 2))
    _, _, _, report = collect(recording)
    assert report == "sampling, latent 8×8: no map, because measuring it failed: maps of 1 MB do not fit on the disk"


def test_a_sampling_that_cannot_be_described_is_finished(
    loaded_models: dict[str, Loaded], record: Callable, collect: Callable
) -> None:
    from comfy.samplers import CFGGuider, sampler_object

    class Odd:
        """An attribute of another pack's guider."""

        @property
        def size(self) -> int:
            raise RuntimeError("not now")

    def sampled(model: Any) -> torch.Tensor:
        guider, sampler = CFGGuider(model), sampler_object("euler")
        guider.set_conds(loaded.positive, loaded.negative)
        guider.odd = Odd()
        return guider.sample(noise, torch.zeros_like(noise), sampler, torch.tensor([2.0, 1.0, 0.0]))

    loaded = loaded_models["sd15"]
    noise = torch.randn(1, 4, 8, 8)
    model, recording = record(loaded.model)
    assert torch.equal(sampled(model), sampled(loaded.model))
    assert "no map, because measuring could not begin" in collect(recording)[3]


def test_what_goes_past_the_model_has_no_map(loaded_models: dict[str, Loaded], record: Callable, collect: Callable) -> None:
    """A guider of another pack that samples in its own way."""
    from comfy.samplers import CFGGuider, sampler_object

    class Own(CFGGuider):
        def inner_sample(self, noise: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            return noise

    loaded = loaded_models["sd15"]
    model, recording = record(loaded.model)
    guider, sampler, sigmas = Own(model), sampler_object("euler"), torch.tensor([2.0, 1.0, 0.0])
    guider.set_conds(loaded.positive, loaded.negative)
    plain = torch.randn(1, 4, 8, 8)
    assert torch.equal(guider.sample(plain, plain, sampler, sigmas), plain)
    assert "latent 8×8: no map, because Own calls the model past the hooks that measure" in collect(recording)[3]


def test_nothing_recorded_says_what_to_do(loaded_models: dict[str, Loaded], record: Callable, collect: Callable) -> None:
    from comfy_execution.graph import ExecutionBlocker

    _, recording = record(loaded_models["sd15"].model)
    *blocked, report = collect(recording)
    assert all(isinstance(value, ExecutionBlocker) and value.message == report for (value,) in blocked)
    assert "Connect the MODEL of Record Uncertainty to a sampler" in report


def test_another_value_for_a_recording_is_refused(collect: Callable) -> None:
    with pytest.raises(ValueError, match="recording must come from Record Uncertainty, got a str"):
        collect("a text")


def test_what_is_measured_twice_is_said_once(
    loaded_models: dict[str, Loaded], sampling: Sampling, record: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    """A sampler of this pack, or a second Record Uncertainty, with a recorded model."""
    loaded = loaded_models["sd15"]
    model, _ = record(loaded.model)
    calls: list[int] = []

    def said(sample: Callable[..., Any], **given: Any) -> tuple[int, list[str]]:
        """Number of evaluations of one image with one prompt, and what the log says of it."""
        caplog.clear()
        calls.clear()
        sample(loaded, 1, cfg=1.0, **given)
        return sum(calls), [entry.getMessage() for entry in caplog.records if "is measured" in entry.getMessage()]

    hook = loaded.model.model.diffusion_model.register_forward_hook(lambda network, given, made: calls.append(len(made)))
    try:
        alone, nothing = said(sampling.node)
        assert nothing == said(sampling.plain, model=model)[1] == said(sampling.node, model=model, samples=0)[1] == []
        for sample, given in ((sampling.node, model), (sampling.plain, record(model)[0])):
            both, (told,) = said(sample, model=given)
            assert told.startswith(f"this sampling is measured 2 times, for which each image costs at least {both - alone} more")
            assert told.endswith("connect it to the model before Record Uncertainty.")
    finally:
        hook.remove()


WAYS = ["record after guidance", "guidance after record", "sampler after guidance", "guiding sampler after record"]


@pytest.mark.parametrize("way", WAYS)
def test_a_map_names_the_guidance_of_another_node(
    way: str, loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable, record: Callable, collect: Callable,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Recorded before the guidance begins, so that the map alone does not tell the images apart."""
    loaded = loaded_models["sd15"]
    early = {"window_start": 0.0, "window_end": 0.2}
    strong = MEASURING | {"strength": 5.0, "window_start": 0.5, "percentile": 90.0}

    def sampled(guided: bool) -> Any:
        guidance = pack("nodes.sampling.guidance_patch").UncertaintyGuidance.execute
        given = strong | {"strength": 5.0 * guided}
        model, recording = loaded.model, None
        if way == "record after guidance":
            model, recording = record(guidance(model, **given).args[0], **early)
        elif way == "sampler after guidance":
            model = guidance(model, **given).args[0]
        else:
            model, recording = record(model, **early)
            model = guidance(model, **given).args[0] if way == "guidance after record" else model
        if recording is None:
            return sampling.node(loaded, model=model, **early)[1]
        if way == "guiding sampler after record":
            sampling.node(loaded, model=model, **given)
        else:
            sampling.plain(loaded, model=model)
        return collect(recording)[0][0]

    prints, files = pack("uncertainty.storage.fingerprints"), pack("uncertainty.storage.tensor_files")
    plain, guided = sampled(False), sampled(True)
    assert "guided_by" not in plain.settings
    (by,) = guided.settings["guided_by"]
    assert (by["strength"], by["percentile"], by["window"]) == (5.0, 90.0, [0.5, strong["window_end"]])
    assert (by["samples"], by["guided_quantity"], by["gradient"]) == (strong["samples"], "score_variance", "exact")
    assert {name: value for name, value in guided.settings.items() if name != "guided_by"} == dict(plain.settings)
    assert torch.equal(plain.values, guided.values)
    assert set(prints.image_digests(plain)).isdisjoint(prints.image_digests(guided))
    assert prints.fingerprint(plain) == prints.fingerprint(guided)  # scores are compared whatever guides
    files.save_map(tmp_path / "map.safetensors", guided)
    assert files.load_map(tmp_path / "map.safetensors").settings["guided_by"] == [by]


def test_guidance_before_the_recording_is_measured_and_stays_as_it_is(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable, record: Callable, collect: Callable
) -> None:
    loaded = loaded_models["sd15"]
    guidance = pack("nodes.sampling.guidance_patch").UncertaintyGuidance.execute
    guided = guidance(loaded.model, **(MEASURING | {"strength": 5.0})).args[0]
    model, recording = record(guided)
    latent = sampling.plain(loaded, model=model)
    assert torch.equal(latent, sampling.plain(loaded, model=guided))
    assert not torch.equal(latent, sampling.plain(loaded))
    assert len(collect(recording)[0]) == 1
