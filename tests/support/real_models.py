"""Real ComfyUI models that are small enough for exact checks, and the sampler node beside ComfyUI's KSampler."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

# Settings of a measuring node in most tests.
MEASURING = {"samples": 3, "strength": 0.0, "percentile": 90.0, "window_start": 0.3, "window_end": 0.7}


@dataclass
class Loaded:
    """A model with its prompts. ``latent(batch)`` returns an empty latent of its shape."""

    model: Any
    positive: Any
    negative: Any
    latent: Callable[[int], dict]


def randomise(network: torch.nn.Module, gain: float) -> None:
    """Set random weights: ComfyUI leaves weights unset until they are loaded."""
    rng = torch.Generator().manual_seed(0)
    # SD3 and Stable Audio store position embeddings, which belong to the weights, in buffers.
    positions = [(name, buffer) for name, buffer in network.named_buffers() if name.endswith(("pos_embed", "inv_freq"))]
    for name, parameter in (*network.named_parameters(), *positions):
        # A nearly linear network has almost no gradient, a chaotic one an ill-conditioned one: rounding would dominate both.
        scale = gain / max(parameter[0].numel(), 1) ** 0.5 if parameter.ndim > 1 else 0.02
        offset = 1.0 if "norm" in name and name.endswith(("weight", "scale", "gamma")) else 0.0
        parameter.copy_(offset + scale * torch.randn(parameter.shape, generator=rng))


def patcher(model: torch.nn.Module, gain: float) -> Any:
    """A model with random weights in ComfyUI's ModelPatcher."""
    import comfy.model_patcher

    cpu = torch.device("cpu")
    randomise(model.diffusion_model, gain)
    return comfy.model_patcher.ModelPatcher(model.eval(), cpu, cpu)


def conditioning(tokens: int, width: int, pooled: int, seed: int) -> Any:
    """A random prompt."""
    rng = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, tokens, width, generator=rng), {"pooled_output": torch.randn(1, pooled, generator=rng)}]]


def _sd15() -> Loaded:
    import comfy.model_base
    import comfy.supported_models

    config = comfy.supported_models.SD15({
        "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": [1, 1],
        "channel_mult": (1, 2), "transformer_depth": [1, 0], "transformer_depth_output": [1, 1, 0, 0],
        "transformer_depth_middle": 1, "use_spatial_transformer": True, "context_dim": 16, "legacy": False,
    })  # fmt: skip
    config.unet_config["num_heads"] = 4
    config.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.BaseModel(config, comfy.model_base.ModelType.EPS)
    conds = [conditioning(7, 16, 16, seed) for seed in (1, 2)]
    return Loaded(patcher(model, gain=2.0), *conds, lambda batch: {"samples": torch.zeros(batch, 4, 8, 8)})


def _sd3() -> Loaded:
    import comfy.model_base
    import comfy.supported_models

    config = comfy.supported_models.SD3({
        "in_channels": 16, "out_channels": 16, "patch_size": 2, "depth": 2, "input_size": None, "adm_in_channels": 32,
        "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 48, "out_features": 128}},
        "num_patches": 64, "pos_embed_max_size": 8, "pos_embed_scaling_factor": None,
    })  # fmt: skip
    config.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.SD3(config)
    conds = [conditioning(5, 48, 32, seed) for seed in (1, 2)]
    return Loaded(patcher(model, gain=1.0), *conds, lambda batch: {"samples": torch.zeros(batch, 16, 8, 8)})


# Arguments of networks in versions of ComfyUI after 0.3.75, by architecture: module, class and values.
NEWER = {
    "flux": ("comfy.ldm.flux.model", "FluxParams", {"txt_ids_dims": []}),
    "flux2": ("comfy.ldm.flux.model", "FluxParams", {"txt_ids_dims": [3]}),
    "chroma": ("comfy.ldm.chroma.model", "ChromaParams", {"txt_ids_dims": [], "vec_in_dim": None}),
    "chroma_radiance": (
        "comfy.ldm.chroma_radiance.model", "ChromaRadianceParams",
        {"txt_ids_dims": [], "vec_in_dim": None, "use_x0": False, "use_sequential_txt_ids": False},
    ),
    "hunyuan_video": ("comfy.ldm.hunyuan_video.model", "HunyuanVideoParams", {"meanflow_sum": False}),
}  # fmt: skip


def newer_parameters(architecture: str | None) -> dict[str, Any]:
    """The newer arguments that the running version knows."""
    if architecture not in NEWER:
        return {}
    module, name, values = NEWER[architecture]
    known = getattr(importlib.import_module(module), name).__dataclass_fields__
    return {key: value for key, value in values.items() if key in known}


def _flux() -> Loaded:
    import comfy.model_base
    import comfy.supported_models

    config = comfy.supported_models.Flux({
        "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 32, "context_in_dim": 32, "hidden_size": 64,
        "mlp_ratio": 2.0, "num_heads": 2, "depth": 1, "depth_single_blocks": 1, "axes_dim": [8, 12, 12], "theta": 10000,
        "patch_size": 2, "qkv_bias": True, "guidance_embed": True,
    } | newer_parameters("flux"))  # fmt: skip
    config.set_inference_dtype(torch.float32, None)
    model = comfy.model_base.Flux(config)
    conds = [conditioning(5, 32, 32, seed) for seed in (1, 2)]
    return Loaded(patcher(model, gain=1.0), *conds, lambda batch: {"samples": torch.zeros(batch, 16, 8, 8)})


def with_controlnet(loaded: Loaded) -> Loaded:
    """The SD1.5-like model with a ControlNet of the same size on both prompts."""
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.ops

    config = loaded.model.model.model_config.unet_config | {
        "hint_channels": 3, "operations": comfy.ops.disable_weight_init, "dtype": torch.float32,
    }  # fmt: skip
    config.pop("out_channels")
    network = comfy.cldm.cldm.ControlNet(**config)
    randomise(network, gain=2.0)
    hint = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    control = comfy.controlnet.ControlNet(network, load_device=torch.device("cpu")).copy().set_cond_hint(hint)
    positive = [[text, options | {"control": control, "control_apply_to_uncond": True}] for text, options in loaded.positive]
    return replace(loaded, positive=positive)


def full_size(demo: Loaded) -> Loaded:
    """A demo model at the size it was trained for. It takes four times as long; needed by tests that check what it draws."""
    return replace(demo, latent=lambda batch: {"samples": torch.zeros(batch, 4, 64, 64)})


def _demo(pack: Callable[[str], ModuleType], family: str) -> Loaded:
    model, clip, _ = pack("demo.model").load(family)
    encode = lambda text: clip.encode_from_tokens_scheduled(clip.tokenize(text))  # noqa: E731
    return Loaded(model, encode("cat face"), encode(""), lambda batch: {"samples": torch.zeros(batch, 4, 32, 32)})


def load_all(pack: Callable[[str], ModuleType]) -> dict[str, Loaded]:
    """All models by name. Call in inference mode, in which ComfyUI's loader nodes run."""
    return {
        "sd15": _sd15(),
        "sd3": _sd3(),
        "flux": _flux(),
        "demo-eps": _demo(pack, "noise prediction"),
        "demo-flow": _demo(pack, "rectified flow"),
    }


@dataclass
class Sampling:
    """Runs the node and ComfyUI's own KSampler with the same inputs."""

    pack: Callable[[str], ModuleType]
    images: int = 2

    def node(self, loaded: Loaded, batch: int | None = None, **changed: Any) -> tuple[dict, Any, list[float]]:
        """Latent, map and scores from UncertaintyKSampler."""
        inputs = self.inputs(loaded, batch) | MEASURING | changed
        return self.pack("nodes.sampling.ksampler").UncertaintyKSampler.execute(**inputs).args

    def plain(self, loaded: Loaded, batch: int | None = None, **changed: Any) -> Tensor:
        """Latent from KSampler."""
        import nodes as comfy_nodes

        inputs = self.inputs(loaded, batch) | changed
        inputs["latent"] = inputs.pop("latent_image")
        return comfy_nodes.common_ksampler(**inputs)[0]["samples"]

    def inputs(self, loaded: Loaded, batch: int | None = None) -> dict[str, Any]:
        """The inputs that both share; the batch has ``images`` images by default."""
        return {
            "model": loaded.model, "seed": 3, "steps": 5, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal",
            "positive": loaded.positive, "negative": loaded.negative, "denoise": 1.0,
            "latent_image": loaded.latent(batch or self.images),
        }  # fmt: skip
