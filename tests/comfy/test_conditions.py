"""Models and prompts with attachments such as LoRAs, regions and hooks: measuring changes nothing, and guidance works."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from families import FAMILIES
from real_models import Loaded, Sampling, conditioning


@pytest.fixture
def unet(loaded_models: dict[str, Loaded]) -> Loaded:
    return loaded_models["sd15"]


@pytest.fixture
def holds(sampling: Sampling, pack: Callable[[str], ModuleType]) -> Callable[..., None]:
    """Checks a model with an attachment against the same model without it."""

    def check(attached: Loaded, without: Loaded, **run: Any) -> None:
        plain, bare = sampling.plain(attached, **run), sampling.plain(without, **run)
        assert not torch.equal(plain, bare), "nothing is attached"
        measured, found, _ = sampling.node(attached, **run)
        assert torch.equal(measured["samples"], plain)
        assert found.steps == (2, 3)
        one_by_one = pack("uncertainty.options").Options(max_batch=1)
        _, alone, _ = sampling.node(attached, options=one_by_one, **run)
        _, other, _ = sampling.node(without, **run)
        for name, values in found.quantities.items():
            assert torch.isfinite(values).all()
            assert difference(values, alone.quantities[name]) < 1e-3, "probes mix"
        seen = [difference(values, other.quantities[name]) for name, values in found.quantities.items()]
        assert max(seen) > 1e-3, "the probes do not see it"
        guided, _, _ = sampling.node(attached, strength=1.0, **run)
        assert torch.isfinite(guided["samples"]).all()
        assert not torch.equal(guided["samples"], plain)
        assert torch.equal(sampling.plain(attached, **run), plain), "something was not put back"
        assert torch.equal(sampling.plain(without, **run), bare), "something was not put back"

    return check


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def prompt(loaded: Loaded, **options: Any) -> Any:
    (entry,) = loaded.positive
    return [[entry[0], entry[1] | options]]


def test_part_of_the_schedule(unet: Loaded, sampling: Sampling) -> None:
    latent = {"samples": torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))}
    run = {"latent_image": latent, "denoise": 0.6}
    measured, found, _ = sampling.node(unet, **run)
    assert torch.equal(measured["samples"], sampling.plain(unet, **run))
    assert found.steps == (2, 3) and found.total_steps == 5
    _, whole, _ = sampling.node(unet, latent_image=latent)
    assert found.sigmas[0] < whole.sigmas[0]
    guided, _, _ = sampling.node(unet, strength=1.0, **run)
    assert not torch.equal(guided["samples"], measured["samples"])


REGIONS = {
    "area": lambda: {"area": (4, 6, 2, 1), "strength": 1.0},
    "mask": lambda: {"mask": torch.linspace(0, 1, 64).expand(1, 64, 64), "mask_strength": 1.0},
    "area and mask": lambda: {"area": (4, 4, 0, 4), "strength": 0.7, "mask": torch.ones(1, 64, 64), "mask_strength": 1.0},
}


@pytest.mark.parametrize("region", REGIONS)
def test_regional_prompts(region: str, unet: Loaded, holds: Callable[..., None]) -> None:
    (other,) = conditioning(7, 16, 16, seed=9)
    local = [[3 * other[0], other[1] | REGIONS[region]()]]
    holds(replace(unet, positive=unet.positive + local), unet)


def test_prompts_for_part_of_the_schedule(unet: Loaded, holds: Callable[..., None]) -> None:
    first = prompt(unet, start_percent=0.0, end_percent=0.5)
    (other,) = conditioning(7, 16, 16, seed=9)
    second = [[3 * other[0], other[1] | {"start_percent": 0.5, "end_percent": 1.0}]]
    holds(replace(unet, positive=first + second), unet)


def lora(model: Any, rank: int = 4) -> dict[str, torch.Tensor]:
    """A toy LoRA on one attention layer, with the key names that trainers write."""
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    weight = model.model.diffusion_model.middle_block[1].transformer_blocks[0].attn1.to_q.weight
    rng = torch.Generator().manual_seed(1)
    return {
        f"{name}.lora_up.weight": torch.randn(weight.shape[0], rank, generator=rng),
        f"{name}.lora_down.weight": torch.randn(rank, weight.shape[1], generator=rng),
    }


def test_lora(unet: Loaded, holds: Callable[..., None]) -> None:
    import comfy.sd

    model, _ = comfy.sd.load_lora_for_models(unet.model, None, lora(unet.model), 1.0, 0.0)
    holds(replace(unet, model=model), unet)


@pytest.mark.parametrize("keyframes", [False, True])
def test_weight_hooks(keyframes: bool, unet: Loaded, holds: Callable[..., None], sampling: Sampling) -> None:
    """A LoRA on one prompt only; with keyframes it is stronger in the second half."""
    import comfy.hooks

    hooks = comfy.hooks.create_hook_lora(lora=lora(unet.model), strength_model=1.0, strength_clip=0.0)
    if keyframes:
        frames = comfy.hooks.HookKeyframeGroup()
        for start, strength in ((0.0, 0.2), (0.5, 1.0)):
            frames.add(comfy.hooks.HookKeyframe(strength=strength, start_percent=start))
        hooks.set_keyframes_on_hooks(frames)
    hooked = replace(unet, positive=prompt(unet, hooks=hooks))
    holds(hooked, unet)
    # The prompts have different weights, and a backward pass would use the last weights for both.
    _, found, _ = sampling.node(hooked, strength=1.0)
    assert found.settings["gradient"] == "forward_only"


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory, pack: Callable[[str], ModuleType]) -> Loaded:
    with torch.inference_mode():
        return FAMILIES["Wan 2.1"].load(tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize("fuse", ["pyramid", "relative", "flat", "overlap-linear"])
def test_context_windows(fuse: str, wan: Loaded, holds: Callable[..., None]) -> None:
    """One video at a time, because ComfyUI 0.3.75 refuses two."""
    from comfy_extras.nodes_context_windows import WanContextWindowsManualNode

    video = replace(wan, latent=lambda batch: {"samples": torch.zeros(batch, 16, 6, 4, 4)})
    newer = {"freenoise": False} if "freenoise" in inspect.signature(WanContextWindowsManualNode.execute).parameters else {}
    (model,) = WanContextWindowsManualNode.execute(wan.model, 13, 5, "standard_static", 1, False, fuse, **newer).args
    holds(replace(video, model=model), video, batch=1)


def test_compiled_models(sampling: Sampling, tmp_path: Path) -> None:
    """Traced and differentiated as with the node's backends, but without code generation, which needs a compiler or a GPU."""
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    unet = FAMILIES["SD1.5"].load(tmp_path)  # few blocks, because tracing blocks takes nearly all of the time
    (model,) = TorchCompileModel.execute(unet.model, "aot_eager").args
    run = {"model": model, "batch": 1}
    measured, found, _ = sampling.node(unet, **run)
    assert torch.equal(measured["samples"], sampling.plain(unet, **run))
    _, plain, _ = sampling.node(unet, batch=1)
    assert difference(found.values, plain.values) < 1e-3
    guided, _, _ = sampling.node(unet, strength=1.0, **run)
    assert torch.isfinite(guided["samples"]).all()
    assert not torch.equal(guided["samples"], measured["samples"])


@pytest.mark.parametrize("name", ["LTX-Video", "HunyuanVideo"])
def test_known_frames_of_a_video_stay_clean(
    name: str, sampling: Sampling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In image to video, these models get the known frames without noise, also in the probes."""
    family = FAMILIES[name]
    loaded = family.load(tmp_path)
    latent = torch.randn(1, *family.latent, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 1, *family.latent[1:])
    mask[:, :, 0] = 0
    known = loaded.model.model.process_latent_in(latent)[:, :, 0]
    seen: list[torch.Tensor] = []

    apply = loaded.model.model.apply_model

    def watch(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        seen.append(x[:, :, 0])
        return apply(x, *args, **kwargs)

    monkeypatch.setattr(loaded.model.model, "apply_model", watch)
    sampling.node(loaded, batch=1, latent_image={"samples": latent, "noise_mask": mask}, strength=1.0)
    assert max(len(frames) for frames in seen) > 2
    assert all(torch.allclose(frames, known.expand_as(frames), atol=1e-5) for frames in seen)
