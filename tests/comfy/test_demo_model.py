"""The shipped model: a trained network behind ComfyUI's own interfaces."""

import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from families import FAMILIES
from real_models import Loaded, Sampling, full_size


def test_prompts_are_encoded_as_bags_of_words(pack: Callable[[str], ModuleType], caplog: pytest.LogCaptureFixture) -> None:
    _, clip, _ = pack("demo.model").load()
    encode = lambda text: clip.encode_from_tokens_scheduled(clip.tokenize(text))[0]  # noqa: E731
    cat, order, weighted, empty = (encode(t) for t in ("cat face", "Face of a CAT!", "(cat:1.5) face", ""))
    assert cat[0].shape == (1, 8, 192)
    torch.testing.assert_close(cat[1]["pooled_output"], order[1]["pooled_output"])
    assert not torch.allclose(cat[0], weighted[0])
    assert not torch.allclose(cat[1]["pooled_output"], empty[1]["pooled_output"])
    with caplog.at_level(logging.WARNING):
        encode("xylograph cat")
        encode("xylograph")
    assert len([r for r in caplog.records if "does not know these words: xylograph" in r.message]) == 1
    assert encode("cat " * 9)[0].shape == (1, 16, 192)


def test_both_families_are_one_model(loaded_models: dict[str, Loaded]) -> None:
    """ε_flow(x, σ) = ε_VE(x/(1 - σ), σ/(1 - σ)) for the trained network in ComfyUI's model classes."""
    exploding, flow = (loaded_models[name].model.model for name in ("demo-eps", "demo-flow"))
    condition = loaded_models["demo-eps"].positive[0]
    inputs = {"c_crossattn": condition[0], "y": condition[1]["pooled_output"]}
    for index in (100, 500, 900):
        level = exploding.model_sampling.sigmas[index : index + 1]
        time = level / (1 + level)
        x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(index)) * (1 + level)
        a = exploding.apply_model(x, level, **inputs)
        b = flow.apply_model(x * (1 - time), time, **inputs)
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["demo-eps", "demo-flow"])
def test_the_prompt_decides_the_colour(
    name: str, loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    """The trained model draws objects in the requested colour on a white background."""
    loaded = full_size(loaded_models[name])
    _, clip, _ = pack("demo.model").load()
    images = {
        word: sampling.plain(
            loaded, batch=4, steps=20, positive=clip.encode_from_tokens_scheduled(clip.tokenize(f"{word} heart"))
        )
        for word in ("blue", "green")
    }
    corners = images["blue"][..., [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners > 0.9).all()
    blue, green = (images[word][:, :, 20:44, 20:44].mean((2, 3)) for word in ("blue", "green"))
    assert (blue[:, 2] > blue[:, 1] + 0.2).all()
    assert (green[:, 1] > green[:, 2] + 0.2).all()


@pytest.mark.parametrize("size", [62, 65, 68])
def test_any_latent_size_can_be_drawn(size: int, loaded_models: dict[str, Loaded], sampling: Sampling) -> None:
    latent = {"samples": torch.zeros(1, 3, size, size - 4)}
    images = sampling.plain(loaded_models["demo-eps"], steps=2, latent_image=latent)
    assert images.shape == latent["samples"].shape
    assert torch.isfinite(images).all()


def test_the_control_variate_beats_the_plain_variance_on_it(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType]
) -> None:
    """Subtracting the drawn probe noise brings the map closer to its limit at the same cost."""
    options = pack("uncertainty.options").Options
    loaded = full_size(loaded_models["demo-eps"])
    run = {"batch": 1, "steps": 10, "window_start": 0.5, "window_end": 0.6}
    maps = {
        name: sampling.node(loaded, samples=samples, seed=seed, options=options(estimator=estimator), **run)[1]
        for name, samples, seed, estimator in (("plain", 5, 1, "paper"), ("controlled", 5, 1, "control_variate"))
    }
    limit = sampling.node(loaded, samples=64, seed=1, options=options(estimator="control_variate"), **run)[1]

    def agreement(name: str) -> float:
        pair = [m.values[0, 0].mean(0).flatten() for m in (maps[name], limit)]
        return torch.corrcoef(torch.stack(pair))[0, 1].item()

    assert agreement("controlled") > agreement("plain") + 0.1


def test_unknown_families_are_named(pack: Callable[[str], ModuleType]) -> None:
    with pytest.raises(ValueError, match="family must be one of .*got 'edm'"):
        pack("demo.model").load("edm")


def test_a_checkpoint_in_its_place(
    pack: Callable[[str], ModuleType], loaded_models: dict[str, Loaded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any file in the checkpoints folder can be chosen and is loaded by ComfyUI's loader."""
    import folder_paths
    from safetensors.torch import save_file

    node = pack("nodes.sampling.demo_model").UncertaintyDemoModel
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "checkpoints", ([str(tmp_path)], {".safetensors"}))
    weights = FAMILIES["SD1.5"].direct().model.diffusion_model.state_dict()
    save_file({f"model.diffusion_model.{name}": value.clone() for name, value in weights.items()}, tmp_path / "mine.safetensors")
    assert node.validate_inputs(checkpoint="mine.safetensors") is True
    assert "mine.safetensors" in node.validate_inputs(checkpoint="gone.safetensors")
    model, _, _ = node.execute(checkpoint="mine.safetensors").args
    found = model.model.diffusion_model.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in weights.items())
