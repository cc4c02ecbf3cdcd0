"""Maps, calibrations and thresholds from the real sampler in ComfyUI's folders, and masks and plots of them."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from real_models import Loaded, Sampling

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, comfy_pack: ModuleType) -> Iterator[Path]:
    """Empty input and output folders for each test."""
    import folder_paths

    before = folder_paths.get_output_directory(), folder_paths.get_input_directory()
    for name in ("output", "input"):
        (tmp_path / name).mkdir()
    folder_paths.set_output_directory(str(tmp_path / "output"))
    folder_paths.set_input_directory(str(tmp_path / "input"))
    yield tmp_path
    folder_paths.set_output_directory(before[0])
    folder_paths.set_input_directory(before[1])


@pytest.fixture(scope="module")
def unchanged_run(loaded_models: dict[str, Loaded], sampling: Sampling) -> Any:
    with torch.inference_mode():
        return sampling.node(loaded_models["demo-eps"])


@pytest.fixture
def sampled(unchanged_run: Any, loaded_models: dict[str, Loaded], sampling: Sampling) -> Run:
    """Latent, map and scores of a run of the demo model. The unchanged run is sampled once for all tests."""
    return lambda **changed: sampling.node(loaded_models["demo-eps"], **changed) if changed else unchanged_run


@pytest.fixture
def calibrate(pack: Callable[[str], ModuleType]) -> Run:
    """Run the calibration node; returns thresholds, number of images and report."""
    node = pack("nodes.calibrating.calibration_nodes").UncertaintyCalibrate
    return lambda found, name="test", percentile=95.0: node.execute(found, name, percentile).args


def choices(node: Any) -> list[str]:
    (field,) = node.define_schema().inputs
    return list(field.options)


def test_two_that_add_to_one_calibration_lose_no_image(calibrate: Run, sampled: Run, folders: Path) -> None:
    """As two ComfyUIs with one output folder do."""
    _, found, _ = sampled()
    values = {name: torch.zeros_like(value) for name, value in found.quantities.items()}
    maps = [replace(found, quantities={name: value + number for name, value in values.items()}) for number in range(8)]
    maps = [each.select([0]) for each in maps]
    with ThreadPoolExecutor(len(maps)) as several:
        for done in [several.submit(torch.inference_mode()(calibrate), each) for each in maps]:
            done.result()
    assert calibrate(maps[0])[1] == len(maps)


def test_a_saved_map_is_listed_and_loaded(pack: Callable[[str], ModuleType], sampled: Run, folders: Path) -> None:
    nodes = pack("nodes.looking.map_files")
    _, found, _ = sampled()
    assert choices(nodes.UncertaintyMapLoad) == []
    shown = [
        nodes.UncertaintyMapSave.execute(found, prefix).ui["files"] for prefix in ("uncertainty/map",) * 2 + ("elsewhere/x",)
    ]
    assert shown[1] == [{"filename": "map_00002_.safetensors", "subfolder": "uncertainty", "type": "output"}]
    assert (folders / "output" / "elsewhere" / "x_00001_.safetensors").is_file()
    (folders / "output" / "elsewhere" / "x_00001_.safetensors").rename(folders / "input" / "mine.safetensors")
    (folders / "input" / "other.safetensors").write_bytes(b"not a map")
    files = ["uncertainty/map_00001_.safetensors [output]", "uncertainty/map_00002_.safetensors [output]", "mine.safetensors"]
    assert choices(nodes.UncertaintyMapLoad) == files
    for file in files:
        assert nodes.UncertaintyMapLoad.validate_inputs(file=file) is True
        (again,) = nodes.UncertaintyMapLoad.execute(file).args
        assert all(torch.equal(again.quantities[name], found.quantities[name]) for name in found.quantities)
        assert again.settings == found.settings and again.steps == found.steps


def test_what_cannot_be_loaded_is_refused(pack: Callable[[str], ModuleType], folders: Path) -> None:
    load = pack("nodes.looking.map_files").UncertaintyMapLoad
    (folders / "secret.safetensors").write_bytes(b"x")
    for file in (
        "none.safetensors",
        "../secret.safetensors",
        "../../secret.safetensors [output]",
        str(folders / "secret.safetensors"),
    ):
        assert "is not in ComfyUI's folders: choose one from the list" in load.validate_inputs(file=file)
    (folders / "input" / "broken.safetensors").write_bytes(b"x" * 20)
    assert load.validate_inputs(file="broken.safetensors") is True
    with pytest.raises(ValueError, match=r"broken.safetensors is damaged"):
        load.execute("broken.safetensors")


def test_a_file_written_anew_is_loaded_anew(pack: Callable[[str], ModuleType], folders: Path) -> None:
    load = pack("nodes.calibrating.calibration_nodes").UncertaintyThresholdsLoad
    file = folders / "input" / "a.safetensors"
    file.write_bytes(b"x")
    os.utime(file, ns=(1, 1))
    assert load.fingerprint_inputs(file="a.safetensors") == load.fingerprint_inputs(file="a.safetensors") == 1
    os.utime(file, ns=(2, 2))
    assert load.fingerprint_inputs(file="a.safetensors") == 2


def test_runs_add_up_to_thresholds(sampled: Run, calibrate: Run) -> None:
    maps = [sampled(seed=seed, batch=3)[1] for seed in (1, 2)]
    assert calibrate(maps[0])[1] == 3
    thresholds, images, report = calibrate(maps[1], percentile=50.0)
    assert images == 6 and report.startswith("6 images, 3 of them new")
    together = torch.cat([found.values for found in maps], 1)
    for row, step in enumerate(maps[0].steps):
        assert torch.equal(thresholds.tau[step][0], together[row].sort(0).values[2])
    scores = torch.cat([found.score("denoised_variance").value for found in maps])
    assert torch.equal(thresholds.scores["denoised_variance"], scores.sort().values)


def test_the_same_map_is_counted_once(sampled: Run, calibrate: Run) -> None:
    _, found, _ = sampled()
    first = calibrate(found)
    again = calibrate(found, percentile=10.0)
    assert first[1] == again[1] == 2 and "already counted" in again[2]
    assert calibrate(found, name="another")[1] == 2


def test_only_what_is_measured_must_agree(pack: Callable[[str], ModuleType], sampled: Run, calibrate: Run) -> None:
    calibrate(sampled()[1])
    options = pack("uncertainty.options").Options(direction="descend", mask_scope="channel", mask_side="low", max_batch=1)
    assert calibrate(sampled(seed=9, strength=5.0, percentile=50.0, options=options)[1])[1] == 4
    for changed, words in (
        ({"samples": 4}, "samples: 3 in the calibration, 4 now"),
        ({"steps": 6}, "steps: 5 in the calibration, 6 now"),
        ({"cfg": 2.0}, "cfg: 3.0 in the calibration, 2.0 now"),
        ({"scheduler": "karras"}, "scheduler: 'normal' in the calibration, 'karras' now"),
        ({"window_start": 0.5}, r"window: \[0.3, 0.7\] in the calibration, \[0.5, 0.7\] now"),
    ):
        with pytest.raises(ValueError, match=words):
            calibrate(sampled(**changed)[1])


def test_names_stay_in_the_folder(pack: Callable[[str], ModuleType], calibrate: Run, sampled: Run, folders: Path) -> None:
    node = pack("nodes.calibrating.calibration_nodes").UncertaintyCalibrate
    for name in ("", "../x", "a/../../x", "/x", "a/"):
        assert "name must be the name of a file in output/uncertainty" in node.validate_inputs(name=name)
    for name in (" ", "a/ "):
        assert "name must contain no name of dots and spaces alone" in node.validate_inputs(name=name)
    calibrate(sampled()[1], name="demo/first")
    assert [path.name for path in (folders / "output" / "uncertainty" / "demo").glob("[!.]*")] == ["first.safetensors"]


def test_saved_thresholds_work_with_their_settings_alone(pack: Callable[[str], ModuleType], sampled: Run, calibrate: Run) -> None:
    nodes = pack("nodes.calibrating.calibration_nodes")
    latent, found, _ = sampled()
    nodes.UncertaintyThresholdsSave.execute(calibrate(found)[0], "uncertainty/thresholds")
    file = "uncertainty/thresholds_00001_.safetensors [output]"
    assert choices(nodes.UncertaintyThresholdsLoad) == [file]  # the calibration beside it is not offered
    (thresholds,) = nodes.UncertaintyThresholdsLoad.execute(file).args

    guided = sampled(seed=4, strength=5.0, thresholds=thresholds)[0]["samples"]
    assert not torch.equal(guided, sampled(seed=4)[0]["samples"])
    never = replace(thresholds, tau={step: tau + torch.inf for step, tau in thresholds.tau.items()})
    assert torch.equal(sampled(strength=5.0, thresholds=never)[0]["samples"], latent["samples"])
    with pytest.raises(ValueError, match="other settings .*samples: 3 when calibrated, 4 now"):
        sampled(samples=4, thresholds=thresholds)
    with pytest.raises(ValueError, match=r"window: "):
        sampled(window_start=0.2, thresholds=thresholds)


def test_thresholds_are_of_the_quantity_that_guides(pack: Callable[[str], ModuleType], sampled: Run, calibrate: Run) -> None:
    other = pack("uncertainty.options").Options(guided_quantity="denoised_variance")
    _, found, _ = sampled(options=other)
    thresholds = calibrate(found, percentile=0.0)[0]
    for row, step in enumerate(found.steps):
        assert torch.equal(thresholds.tau[step][0], found.quantities["denoised_variance"][row].min(0).values)
    assert torch.isfinite(sampled(strength=1.0, thresholds=thresholds, options=other)[0]["samples"]).all()
    with pytest.raises(ValueError, match="thresholds are of denoised_variance, but guided_quantity is score_variance"):
        sampled(strength=1.0, thresholds=thresholds)
    with pytest.raises(ValueError, match="guided_quantity: 'denoised_variance' in the calibration, 'score_variance' now"):
        calibrate(sampled()[1])


def test_the_filter_compares_with_calibrated_images(pack: Callable[[str], ModuleType], sampled: Run, calibrate: Run) -> None:
    _, found, _ = sampled(batch=4)
    rule = {
        "uncertainty": found, "mode": "reference", "keep": 1, "percentile": 50.0, "threshold": 0.0, "window_start": 0.0,
        "window_end": 1.0, "quantity": "denoised_variance", "reject": "highest", "when_none_pass": "error",
        "thresholds": calibrate(found)[0],
    }  # fmt: skip
    execute = pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute
    kept = execute(**rule).args[8]
    scores = found.score("denoised_variance").value
    assert sorted(scores[kept].tolist()) == sorted(scores.tolist())[:3]  # at most half of the four images are below them
    with pytest.raises(ValueError, match="set window_start to 0 and window_end to 1"):
        execute(**(rule | {"window_start": 0.6}))
    smaller = replace(found, quantities={name: values[..., :16, :] for name, values in found.quantities.items()}, of_run={})
    with pytest.raises(ValueError, match=r"calibrated on latents of shape \[3, 32, 32\], but these have shape \[3, 16, 32\]"):
        execute(**(rule | {"uncertainty": smaller}))


def test_masks_have_the_size_of_the_image(pack: Callable[[str], ModuleType], sampled: Run) -> None:
    mask = pack("nodes.looking.map_to_mask").UncertaintyToMask
    _, found, _ = sampled()
    look = {"quantity": "denoised_variance", "percentile": 75.0, "grow": 0, "feather": 0, "steps": ""}
    (whole,) = mask.execute(found, **look).args
    assert whole.shape == (2, 256, 256)
    torch.testing.assert_close(whole.mean((1, 2)), torch.full((2,), 0.25), atol=1e-4, rtol=0)
    (small,) = mask.execute(found, **look, images=torch.zeros(2, 32, 32, 3)).args
    sound = replace(found, settings={**found.settings, "part": 1})
    with pytest.raises(ValueError, match="images must not be connected, because they show the first part"):
        mask.execute(sound, **look, images=torch.zeros(2, 32, 32, 3))
    averaged = found.quantities["denoised_variance"].sum(0).mean(1)
    assert small.shape == averaged.shape == (2, 32, 32)
    assert all(values[white > 0].min() > values[white == 0].max() for values, white in zip(averaged, small, strict=True))
    (last,) = mask.execute(found, **(look | {"steps": "3"})).args
    assert not torch.equal(last, whole)
    with pytest.raises(ValueError, match=r"steps must be among the recorded steps \[2, 3\], got \[1, 2\]"):
        mask.execute(found, **(look | {"steps": "1-2"}))
    assert "or a list such as 45,46 or 45-48, got '3;4'" in mask.validate_inputs(quantity="denoised_variance", steps="3;4")


def test_masks_keep_to_the_noise_mask_and_to_frames(pack: Callable[[str], ModuleType], sampled: Run) -> None:
    mask = pack("nodes.looking.map_to_mask").UncertaintyToMask
    found = sampled()[1]
    rng = torch.Generator().manual_seed(0)
    left = torch.zeros(1, 1, 3, 4, 6)
    left[..., :3] = 1
    video = replace(
        found,
        quantities={name: torch.rand(2, 1, 4, 3, 4, 6, generator=rng) for name in found.quantities},
        standard_errors={name: torch.zeros(2, 1) for name in found.quantities},
        mask=left,
        of_run={},
        places=(),
        stars=(),
    )
    (frames,) = mask.execute(video, "denoised_variance", 50.0, 0, 0, "").args
    assert frames.shape == (3, 32, 48)
    assert frames[..., 24:].max() == 0
    torch.testing.assert_close(frames[..., :24].mean((1, 2)), torch.full((3,), 0.5), atol=0.01, rtol=0)


def test_a_plot_is_one_image(pack: Callable[[str], ModuleType], sampled: Run) -> None:
    (picture,) = pack("nodes.looking.step_plot").UncertaintyPlot.execute(sampled()[1]).args
    assert picture.ndim == 4 and len(picture) == 1 and picture.shape[-1] == 3 and picture.std() > 0.05
