"""The benchmarks' latent model: the demo network on the latents of a linear autoencoder."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

# Largest root mean square error of denoised latents, by noise over signal. An empty picture is off by 1.02.
BOUNDS = {0.3: 0.2, 1.0: 0.45, 4.0: 0.7}


@pytest.fixture(scope="module")
def latent(comfy_pack: ModuleType) -> ModuleType:
    """``benchmarks.latent_model``, which is a developer's tool and no module of the pack."""
    from benchmarks import latent_model

    return latent_model


@pytest.fixture
def face() -> Tensor:
    """A smiling face in the style of the training pictures, (1, 64, 64, 3) in [0, 1]."""
    picture = Image.new("RGB", (512, 512), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((24, 24, 488, 488), fill=(253, 209, 54))
    for x in (168, 344):
        draw.ellipse((x - 32, 150, x + 32, 240), fill=(66, 51, 28))
    draw.chord((130, 200, 382, 420), 0, 180, fill=(66, 51, 28))
    small = picture.resize((64, 64), Image.Resampling.LANCZOS)
    return torch.tensor(list(small.tobytes())).view(1, 64, 64, 3) / 255


def conditions(clip: Any, text: str) -> dict[str, Tensor]:
    (context, options), = clip.encode_from_tokens_scheduled(clip.tokenize(text))  # fmt: skip
    return {"c_crossattn": context, "y": options["pooled_output"]}


def test_the_autoencoder_loses_little(latent: ModuleType, face: Tensor) -> None:
    _, _, codec = latent.load()
    latents = codec.encode(face)
    assert latents.shape == (1, *latent.LATENT)
    assert 0.5 < latents.std() < 2
    again = codec.decode(latents)
    assert (again - face).square().mean().sqrt() < 0.05
    # A projection: a second pass loses nothing more.
    torch.testing.assert_close(codec.project(codec.expand(latents)), latents, rtol=1e-4, atol=1e-4)


def test_the_autoencoder_is_the_best_linear_one(latent: ModuleType) -> None:
    """Patches mixed from C directions are reconstructed exactly, and their latents have unit variance over all channels."""
    rng = torch.Generator().manual_seed(0)
    directions = torch.randn(latent.CHANNELS, 3 * latent.PATCH**2, generator=rng)
    strengths = torch.linspace(0.2, 2, latent.CHANNELS)[:, None, None] * torch.randn(8, latent.CHANNELS, 16, 16, generator=rng)
    pixels = torch.nn.functional.pixel_shuffle(torch.einsum("bchw,ck->bkhw", strengths, directions), latent.PATCH)
    codec = latent.PatchCodec.of(pixels)
    latents = codec.project(pixels)
    torch.testing.assert_close(codec.expand(latents), pixels, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(latents.square().mean(), torch.tensor(1.0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(codec.components @ codec.components.T, torch.eye(latent.CHANNELS), rtol=1e-4, atol=1e-4)


def test_the_file_replaces_tensors_of_the_demo_model_and_adds_none(latent: ModuleType, tmp_path: Path) -> None:
    assert latent.WEIGHTS.stat().st_size < 5_000_000
    with safe_open(latent.WEIGHTS, "pt") as own, safe_open(latent.demo.WEIGHTS, "pt") as shared:
        names = {name for name in own.keys() if not name.startswith("codec.")}  # noqa: SIM118
        assert names < set(shared.keys())
        tensors, header = {name: own.get_tensor(name) for name in own.keys()}, own.metadata()  # noqa: SIM118
    wrong = tmp_path / "wrong.safetensors"
    save_file(tensors | {"model.diffusion_model.other": torch.zeros(1)}, wrong, header)
    with pytest.raises(RuntimeError, match="other"):
        latent.load(path=wrong)
    save_file(tensors, wrong, header | {"base": "0"})
    with pytest.raises(ValueError, match="not trained from the weights in emoji64.*make train-latent"):
        latent.load(path=wrong)


@pytest.mark.parametrize("family", ["noise prediction", "rectified flow"])
def test_it_denoises(family: str, latent: ModuleType, face: Tensor) -> None:
    """Denoised latents are much nearer to the clean ones than the noisy ones are, and than an empty picture is."""
    patcher, clip, codec = latent.load(family)
    x0 = codec.encode(face).repeat(8, 1, 1, 1)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    given = {name: tensor.expand(8, *tensor.shape[1:]) for name, tensor in conditions(clip, "grinning face").items()}
    for ratio, bound in BOUNDS.items():
        x, level = x0 + ratio * noise, ratio
        if family == "rectified flow":
            x, level = x / (1 + ratio), ratio / (1 + ratio)
        denoised = patcher.model.apply_model(x, torch.full((8,), level), **given)
        assert (denoised - x0).square().mean().sqrt() < bound


@pytest.fixture
def train_latent(latent: ModuleType) -> ModuleType:
    """``benchmarks.train_latent``."""
    from benchmarks import train_latent

    return train_latent


def test_training_starts_from_the_demo_model_seen_through_the_autoencoder(latent: ModuleType, train_latent: ModuleType) -> None:
    """D_latent(z) = project(D_pixel(expand(z))) for the projected outer convolutions."""
    _, _, codec = latent.load()
    header = latent.demo.read(latent.demo.WEIGHTS)[1]
    trainee = train_latent.demo_train.Trainee(len(json.loads(header["vocabulary"])), train_latent.latent_config(header)).eval()
    train_latent.initialise(trainee, codec)
    network = latent.demo.load()[0].model.diffusion_model
    rng = torch.Generator().manual_seed(0)
    z, angle = torch.randn(2, *latent.LATENT, generator=rng), torch.tensor([0.3, 1.2])
    text = [tensor.expand(2, *tensor.shape[1:]) for tensor in trainee.text(torch.ones(1, 8, dtype=torch.long), torch.ones(1, 8))]
    of_latents = trainee.unet.denoised(z, angle, *text, transformer_options={})
    of_pixels = network.denoised(codec.expand(z), angle, *text, transformer_options={})
    torch.testing.assert_close(of_latents, codec.project(of_pixels), rtol=1e-3, atol=1e-3)


def test_what_training_writes_can_be_loaded(
    latent: ModuleType, train_latent: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = latent.demo.read(latent.demo.WEIGHTS)[1]
    pixels = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pictures = [train_latent.demo_train.data.Picture("cat", ("cat",), ("face",), True, False, p) for p in pixels]
    monkeypatch.setattr(train_latent.demo_train, "training_pictures", lambda: (pictures, json.loads(header["vocabulary"])))
    monkeypatch.setattr(train_latent.demo_train, "BATCH", 2)
    monkeypatch.setattr(train_latent, "HIGHEST_RATE", 1.0)  # so that two steps make a difference in half precision
    monkeypatch.setattr(train_latent, "WORK", tmp_path)
    monkeypatch.setattr(train_latent, "WEIGHTS", tmp_path / "weights.safetensors")
    with torch.inference_mode(False):
        train_latent.train(2, 0, torch.device("cpu"))
    patcher, _, codec = latent.load(path=train_latent.WEIGHTS)
    torch.testing.assert_close(codec.components, latent.PatchCodec.of(pixels).components)
    before, after = (latent.demo.load()[0].model, patcher.model)
    moved = {n for n, p in after.named_parameters() if not torch.equal(p, before.get_parameter(n))}
    assert moved == {n for n, p in after.named_parameters() if p.numel() <= train_latent.LARGEST_TRAINED}


def test_both_families_are_one_model(latent: ModuleType) -> None:
    """ε_flow(x, σ) = ε_VE(x/(1 - σ), σ/(1 - σ))."""
    (exploding, clip, _), (flow, _, _) = latent.load("noise prediction"), latent.load("rectified flow")
    given = conditions(clip, "cat face")
    for index in (100, 500, 900):
        level = exploding.model.model_sampling.sigmas[index : index + 1]
        time = level / (1 + level)
        x = torch.randn(1, *latent.LATENT, generator=torch.Generator().manual_seed(index)) * (1 + level)
        a = exploding.model.apply_model(x, level, **given)
        b = flow.model.apply_model(x * (1 - time), time, **given)
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_the_prompt_decides_the_colour(latent: ModuleType, pack: Callable[[str], ModuleType]) -> None:
    """ComfyUI's own sampler draws objects in the requested colour on a white background."""
    import comfy.utils

    import nodes

    comfy.utils.set_progress_bar_enabled(False)
    patcher, clip, codec = latent.load()
    images = {}
    for word in ("blue", "green"):
        positive, negative = (clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in (f"{word} heart", ""))
        empty = {"samples": torch.zeros(4, *latent.LATENT)}
        (drawn,) = nodes.common_ksampler(patcher, 3, 20, 3.0, "euler", "normal", positive, negative, empty)
        images[word] = codec.decode(drawn["samples"])
    assert (images["blue"][:, [0, 0, -1, -1], [0, -1, 0, -1]] > 0.9).all()
    blue, green = (images[word][:, 20:44, 20:44].mean((1, 2)) for word in ("blue", "green"))
    assert (blue[:, 2] > blue[:, 1] + 0.1).all()
    assert (green[:, 1] > green[:, 2] + 0.1).all()
