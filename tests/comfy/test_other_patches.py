"""ComfyUI's own model patches before and after the pack's patch: measuring changes nothing, and guidance works with them."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from real_models import Loaded, Sampling

Patch = Callable[[Any], Any]


def node(module: str, name: str, **values: Any) -> Patch:
    """The patch that a node of ComfyUI applies to a model."""

    def patched(model: Any) -> Any:
        import importlib

        kind = getattr(importlib.import_module(f"comfy_extras.{module}"), name)
        if hasattr(kind, "execute"):
            return kind.execute(model=model, **values).args[0]
        return getattr(kind(), kind.FUNCTION)(model=model, **values)[0]

    return patched


def _merged(model: Any) -> Any:
    from comfy_extras.nodes_model_merging import ModelMergeSimple

    other = model.clone()
    other.add_patches({"diffusion_model.out.2.bias": (torch.full_like(model.model.diffusion_model.out[2].bias, 0.05),)})
    return ModelMergeSimple().merge(model, other, 0.5)[0]


FREEU = {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2}
ATTENTION = {"q": 1.1, "k": 1.0, "v": 0.9, "out": 1.0}
SHRINK = {"block_number": 1, "downscale_factor": 2.0, "start_percent": 0.0, "end_percent": 1.0, "downscale_after_skip": True}
UNET: dict[str, Patch] = {
    "PAG": node("nodes_pag", "PerturbedAttentionGuidance", scale=3.0),
    "SAG": node("nodes_sag", "SelfAttentionGuidance", scale=0.5, blur_sigma=2.0),
    "FreeU": node("nodes_freelunch", "FreeU", **FREEU),
    "FreeU V2": node("nodes_freelunch", "FreeU_V2", **FREEU),
    "RescaleCFG": node("nodes_model_advanced", "RescaleCFG", multiplier=0.7),
    "TCFG": node("nodes_tcfg", "TCFG"),
    "Epsilon Scaling": node("nodes_eps", "EpsilonScaling", scaling_factor=1.01),
    "Temporal Score Rescaling": node("nodes_eps", "TemporalScoreRescaling", tsr_k=0.95, tsr_sigma=1.0),
    "APG": node("nodes_apg", "APG", eta=1.0, norm_threshold=5.0, momentum=0.5),
    "CFG-Zero*": node("nodes_cfg", "CFGZeroStar"),
    "CFGNorm": node("nodes_cfg", "CFGNorm", strength=1.0),
    "Mahiro": node("nodes_mahiro", "Mahiro"),
    "FreSca": node("nodes_fresca", "FreSca", scale_low=1.0, scale_high=1.25, freq_cutoff=2),
    "Deep Shrink": node(
        "nodes_model_downscale", "PatchModelAddDownscale", **SHRINK, downscale_method="bicubic", upscale_method="bicubic"
    ),
    "Attention Multiply": node("nodes_attention_multiply", "UNetSelfAttentionMultiply", **ATTENTION),
    "v-prediction": node("nodes_model_advanced", "ModelSamplingDiscrete", sampling="v_prediction", zsnr=False),
    "merged": _merged,
}
TRANSFORMER: dict[str, Patch] = {
    "Skip Layer Guidance": node(
        "nodes_slg", "SkipLayerGuidanceDiT", scale=3.0, start_percent=0.0, end_percent=1.0, double_layers="0", single_layers=""
    ),
    "sampling shift": node("nodes_model_advanced", "ModelSamplingSD3", shift=2.0),
}
CASES = [("sd15", name, patch) for name, patch in UNET.items()] + [("sd3", name, patch) for name, patch in TRANSFORMER.items()]


@pytest.mark.parametrize(("model", "name", "patch"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_beside_another_patch(
    model: str,
    name: str,
    patch: Patch,
    loaded_models: dict[str, Loaded],
    sampling: Sampling,
    pack: Callable[[str], ModuleType],
) -> None:
    loaded = loaded_models[model]
    if name == "Temporal Score Rescaling":  # does not support batches in ComfyUI 0.3.75
        sampling = replace(sampling, images=1)
    bare = sampling.plain(loaded)
    patched = patch(loaded.model)
    plain = sampling.plain(loaded, model=patched)
    assert not torch.equal(plain, bare), "it does nothing"
    measured, found, _ = sampling.node(loaded, model=patched)
    assert torch.equal(measured["samples"], plain)
    assert found.steps == (2, 3) and all(torch.isfinite(values).all() for values in found.quantities.values())

    guided, _, _ = sampling.node(loaded, model=patched, strength=1.0)
    assert torch.isfinite(guided["samples"]).all() and not torch.equal(guided["samples"], plain)
    guide = pack("nodes.sampling.guidance_patch").UncertaintyGuidance.execute
    settings = {"samples": 3, "strength": 1.0, "percentile": 90.0, "window_start": 0.3, "window_end": 0.7}
    after = sampling.plain(loaded, model=guide(patched, **settings).args[0])
    before = sampling.plain(loaded, model=patch(guide(loaded.model, **settings).args[0]))
    assert torch.equal(after, guided["samples"])
    assert torch.equal(before, after)

    assert torch.equal(sampling.plain(loaded, model=patched), plain), "something was not put back"
    assert torch.equal(sampling.plain(loaded), bare), "something was not put back"
