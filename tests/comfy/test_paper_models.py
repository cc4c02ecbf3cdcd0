"""The paper's networks at reduced width, compared with the libraries they come from, and in the sampler."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from real_models import Loaded, Sampling

PackModule = Callable[[str], ModuleType]


def random_like(network: nn.Module, seed: int = 0) -> nn.Module:
    """Set random weights, because a new network has zeros that would hide mistakes."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            base, scale = (parameter, 0.05) if parameter.ndim == 1 else (0, 0.5 / parameter[0].numel() ** 0.5)
            parameter.copy_(base + scale * torch.randn(parameter.shape, generator=rng))
    return network.eval()


ADM: dict[str, dict[str, Any]] = {
    "64": {
        "channel_mult": (1, 2, 3, 4), "num_res_blocks": 3, "num_classes": 10, "discrete_schedule": "cosine",
        "num_head_channels": 64, "use_new_attention_order": True,
    },
    "128": {
        "channel_mult": (1, 1, 2, 3, 4), "num_res_blocks": 2, "num_classes": 10, "discrete_schedule": "linear", "num_heads": 4,
    },
    "256": {
        "channel_mult": (1, 1, 2, 2, 4, 4), "num_res_blocks": 2, "num_classes": None, "discrete_schedule": "linear",
        "num_head_channels": 64,
    },
}  # fmt: skip


@pytest.fixture
def adm(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Any]:
    """A file with the layout of a published ADM at width 64, and azula's model of it."""
    from azula.plugins.adm import make_model

    oracle = make_model(
        clip_mean=False, image_size=int(request.param), num_channels=64, attention_resolutions=[32, 16, 8], resblock_updown=True,
        use_scale_shift_norm=True, **ADM[request.param],
    )  # fmt: skip
    random_like(oracle.backbone)
    path = tmp_path / f"{request.param}_diffusion.pt"
    torch.save(oracle.backbone.state_dict(), path)
    return path, oracle.eval()


def denoised(model: Any, x: Tensor, sigma: float, labels: Tensor | None = None) -> Tensor:
    """The denoised latent that ComfyUI computes from a model's prediction."""
    options: dict[str, Any] = {"transformer_options": {}}
    if labels is not None:
        options["y"] = labels
    return model.model.apply_model(x, torch.full((len(x),), sigma), **options)


@pytest.mark.parametrize("adm", list(ADM), indirect=True)
def test_adm_is_azulas(adm: tuple[Path, Any], pack: PackModule) -> None:
    path, oracle = adm
    model, pixels = pack("paper_models.load").load(path)
    assert pixels
    sigmas = model.model.model_sampling.sigmas
    torch.testing.assert_close(sigmas / (1 + sigmas**2).sqrt(), oracle.sigmas, rtol=1e-5, atol=1e-6)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    labels = None if oracle.backbone.num_classes is None else torch.tensor([3, 7])
    step = 420
    sigma = float(sigmas[step])
    expected = oracle.backbone(x / (1 + sigma**2) ** 0.5, torch.tensor([step, step]), y=labels)[:, :3]
    torch.testing.assert_close(denoised(model, x, sigma, labels), x - sigma * expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("adm", ["64"], indirect=True)
def test_adm_runs_in_the_sampler(adm: tuple[Path, Any], pack: PackModule, sampling: Sampling) -> None:
    model, _ = pack("paper_models.load").load(adm[0])
    label = pack("nodes.experiments.paper_model_nodes").UncertaintyClassLabel
    (positive,) = label.execute(model, "3, 7").args
    loaded = Loaded(model, positive, positive, lambda batch: {"samples": torch.zeros(batch, 4, 32, 32)})
    # The first noise levels of the schedule are in the thousands and would hide a random network's prediction.
    run = {"cfg": 1.0, "denoise": 0.4}
    latent, found, _ = sampling.node(loaded, strength=1.0, samples=2, **run)
    assert latent["samples"].shape == (2, 3, 32, 32)
    assert all(torch.isfinite(values).all() for values in found.quantities.values())
    assert found.settings["gradient"] == "exact"
    assert not torch.equal(latent["samples"], sampling.plain(loaded, **run))
    other = replace(loaded, positive=label.execute(model, "4").args[0])
    assert not torch.equal(sampling.plain(loaded, **run), sampling.plain(other, **run))
    with pytest.raises(ValueError, match="this model always needs a class: enter 0 to 9, and set cfg to 1"):
        label.execute(model, "")
    with pytest.raises(ValueError, match=r"text must hold class numbers from 0 to 9, separated by commas, got '3, 10'"):
        label.execute(model, "3, 10")


@pytest.fixture
def ddpm(tmp_path: Path) -> tuple[Path, Any]:
    """A diffusers folder with the CIFAR-10 network at reduced width."""
    from diffusers import DDPMScheduler, UNet2DModel

    oracle = UNet2DModel(
        sample_size=32, in_channels=3, out_channels=3, layers_per_block=2, block_out_channels=(32, 64, 64, 64), freq_shift=1,
        downsample_padding=0, attention_head_dim=None, flip_sin_to_cos=False, norm_eps=1e-6,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    random_like(oracle)
    folder = tmp_path / "ddpm-cifar10-32"
    oracle.save_pretrained(folder)
    DDPMScheduler(beta_schedule="linear", beta_start=1e-4, beta_end=0.02).save_pretrained(folder)
    return folder / "diffusion_pytorch_model.safetensors", oracle


def test_ddpm_is_diffusers(ddpm: tuple[Path, Any], pack: PackModule, sampling: Sampling) -> None:
    from diffusers import DDPMScheduler

    path, oracle = ddpm
    model, pixels = pack("paper_models.load").load(path)
    assert pixels
    alphas = DDPMScheduler.from_pretrained(path.parent).alphas_cumprod
    sigmas = model.model.model_sampling.sigmas
    torch.testing.assert_close(sigmas, ((1 - alphas) / alphas).sqrt(), rtol=1e-5, atol=1e-6)
    x, step = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)), 300
    sigma = float(sigmas[step])
    expected = x - sigma * oracle(x / (1 + sigma**2) ** 0.5, step).sample
    torch.testing.assert_close(denoised(model, x, sigma), expected, rtol=1e-4, atol=1e-4)

    label = pack("nodes.experiments.paper_model_nodes").UncertaintyClassLabel
    (nothing,) = label.execute(model, "").args
    loaded = Loaded(model, nothing, nothing, lambda batch: {"samples": torch.zeros(batch, 4, 32, 32)})
    latent, found, _ = sampling.node(loaded, cfg=1.0, strength=1.0, samples=2)
    assert latent["samples"].shape == (2, 3, 32, 32)
    assert found.settings["gradient"] == "exact"
    with pytest.raises(ValueError, match="text must be empty for a model without classes, got '1'"):
        label.execute(model, "1")


def test_ddpm_of_another_prediction_is_refused(ddpm: tuple[Path, Any], pack: PackModule) -> None:
    path, _ = ddpm
    settings = path.parent / "scheduler_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"prediction_type": "v_prediction"}))
    with pytest.raises(ValueError, match="ddpm-cifar10-32 has prediction_type v_prediction: use a model that predicts noise"):
        pack("paper_models.load").load(path)


def uvit_layout(width: int, blocks: int, classes: int, side: int, patch: int, channels: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published files (U-ViT without a convolution after the decoder and without qkv bias)."""
    layout: dict[str, tuple[int, ...]] = {
        "pos_embed": (1, 2 + (side // patch) ** 2, width),
        "patch_embed.proj.weight": (width, channels, patch, patch),
        "patch_embed.proj.bias": (width,),
        "label_emb.weight": (classes, width),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "decoder_pred.weight": (patch**2 * channels, width),
        "decoder_pred.bias": (patch**2 * channels,),
    }
    names = [*(f"in_blocks.{i}" for i in range(blocks)), "mid_block", *(f"out_blocks.{i}" for i in range(blocks))]
    for name in names:
        layout |= {f"{name}.{norm}.{part}": (width,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
        layout |= {f"{name}.attn.qkv.weight": (3 * width, width), f"{name}.attn.proj.weight": (width, width)}
        layout |= {f"{name}.attn.proj.bias": (width,), f"{name}.mlp.fc1.weight": (4 * width, width)}
        layout |= {
            f"{name}.mlp.fc1.bias": (4 * width,),
            f"{name}.mlp.fc2.weight": (width, 4 * width),
            f"{name}.mlp.fc2.bias": (width,),
        }
        if name.startswith("out"):
            layout |= {f"{name}.skip_linear.weight": (width, 2 * width), f"{name}.skip_linear.bias": (width,)}
    return layout


@pytest.fixture
def uvit(tmp_path: Path) -> Path:
    """A file with the published layout at width 128."""
    rng = torch.Generator().manual_seed(0)
    layout = uvit_layout(width=128, blocks=2, classes=11, side=16, patch=2, channels=4)
    norms = ("norm.weight", "norm1.weight", "norm2.weight")
    tensors = {
        name: torch.randn(shape, generator=rng) * 0.5 / shape[-1] ** 0.5 + float(name.endswith(norms))
        for name, shape in layout.items()
    }
    path = tmp_path / "imagenet256_uvit.pth"
    torch.save(tensors, path)
    return path


def test_uvit_has_the_published_layout_and_runs(uvit: Path, pack: PackModule, sampling: Sampling) -> None:
    model, pixels = pack("paper_models.load").load(uvit)
    assert not pixels
    network = model.model.diffusion_model
    assert (network.classes, network.null, network.network.side) == (11, 10, 16)
    # The process in continuous time ends at a signal-to-noise ratio of about exp(-10.05), the sum of all betas.
    assert float((1 + model.model.model_sampling.sigmas[-1] ** 2).log()) == pytest.approx(10.05, rel=1e-4)
    assert network.network.own_times(torch.tensor([0.0, 999.0])).tolist() == pytest.approx([0.999, 999])
    label = pack("nodes.experiments.paper_model_nodes").UncertaintyClassLabel
    (positive,), (negative,) = label.execute(model, "3").args, label.execute(model, "").args
    assert negative[0][1]["class_label"].tolist() == [10]
    loaded = Loaded(model, positive, negative, lambda batch: {"samples": torch.zeros(batch, 4, 16, 16)})
    latent, found, _ = sampling.node(loaded, cfg=1.4, strength=1.0, samples=2)
    assert latent["samples"].shape == (2, 4, 16, 16)
    assert all(torch.isfinite(values).all() for values in found.quantities.values())
    assert found.settings["gradient"] == "exact"
    with pytest.raises(ValueError, match="this U-ViT needs latents of 16x16, got 8x8: change the latent's size"):
        sampling.plain(replace(loaded, latent=lambda batch: {"samples": torch.zeros(batch, 4, 8, 8)}))


def test_uvit_puts_patches_where_they_were(uvit: Path, pack: PackModule) -> None:
    """With blocks that pass their tokens through, each patch of the output depends only on the same patch of the input."""
    network = pack("paper_models.uvit").from_tensors(torch.load(uvit, weights_only=True))
    for name, parameter in network.named_parameters():
        if ".attn.proj." in name or ".mlp.fc2." in name:
            parameter.zero_()
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    moved = x.clone()
    moved[:, :, 4:6, 10:12] += 1
    times, labels = torch.tensor([10.0]), torch.tensor([1])
    changed = (network(moved, times, labels) - network(x, times, labels)).abs().sum(1)[0] > 1e-6
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[4:6, 10:12] = True
    assert torch.equal(changed, expected)


def test_files_of_another_layout_are_refused(tmp_path: Path, pack: PackModule) -> None:
    load = pack("paper_models.load").load
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, other)
    with pytest.raises(
        ValueError, match="other.safetensors has an unknown layout: use the weights in a diffusers folder with a UNet2DModel"
    ):
        load(other)
    code = tmp_path / "code.pt"
    torch.save({"weight": torch.zeros(2), "made": Path("x")}, code)
    with pytest.raises(ValueError, match=r"code.pt contains (code and was not loaded|more than named tensors)"):
        load(code)
    levels = tmp_path / "levels.pt"
    torch.save(
        {
            "time_embed.0.weight": torch.zeros(8, 2),
            "input_blocks.0.0.weight": torch.zeros(2, 3, 3, 3),
            "output_blocks.0.0.x": torch.zeros(1),
        },
        levels,
    )
    with pytest.raises(ValueError, match=r"this ADM file has 1 levels, but only 4, 5, 6 .* are supported"):
        load(levels)


def test_class_labels_are_for_these_models_alone(loaded_models: dict[str, Loaded], pack: PackModule) -> None:
    with pytest.raises(ValueError, match="model must come from Load Paper Model"):
        pack("nodes.experiments.paper_model_nodes").UncertaintyClassLabel.execute(loaded_models["sd15"].model, "3")


@pytest.mark.parametrize("adm", ["64"], indirect=True)
def test_the_published_dropout_is_there_to_be_measured(adm: tuple[Path, Any], pack: PackModule, sampling: Sampling) -> None:
    model, _ = pack("paper_models.load").load(adm[0])
    (positive,) = pack("nodes.experiments.paper_model_nodes").UncertaintyClassLabel.execute(model, "3").args
    loaded = Loaded(model, positive, positive, lambda batch: {"samples": torch.zeros(batch, 4, 32, 32)})
    options = pack("uncertainty.options").Options(baselines=("mc_dropout",))
    _, found, _ = sampling.node(loaded, cfg=1.0, denoise=0.4, options=options)
    assert (found.score("mc_dropout").value > 0).all()


def test_the_huge_uvit_has_stable_diffusions_schedule(tmp_path: Path, pack: PackModule) -> None:
    layout = uvit_layout(width=1152, blocks=1, classes=11, side=4, patch=2, channels=4)
    path = tmp_path / "imagenet256_uvit_huge.pth"
    torch.save({name: torch.zeros(shape) for name, shape in layout.items()}, path)
    model, _ = pack("paper_models.load").load(path)
    network = model.model.diffusion_model.network
    assert network.mid_block.attn.heads == 16
    assert network.own_times(torch.tensor([0.0, 999.0])).tolist() == [1, 1000]
    assert float(model.model.model_sampling.sigmas[-1]) == pytest.approx(14.6146, abs=1e-3)
