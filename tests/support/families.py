"""Model families at toy size in ComfyUI's own classes, loaded by ComfyUI's loader where it can detect such a size in a file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from real_models import Loaded, conditioning, newer_parameters, patcher


@dataclass(frozen=True)
class Family:
    """How to build a model of the family.

    Attributes:
        config: name of its class in ``comfy.supported_models``, which determines the model class and the parameterisation.
        sampling: the parameterisation that is expected.
        network: arguments of the network.
        latent: shape of one empty latent.
        text: number of tokens of a prompt, and their width.
        pooled: width of the pooled prompt.
        extras: other conditioning by name.
        marks: checkpoint tensors by which ComfyUI distinguishes variants of the family.
        gain: scale of the random weights.
        loader: function in ``comfy.sd`` that loads the model from a file; empty where no loader accepts the toy size.
        patch: change of the loaded model, as a node would make it.
    """

    config: str
    sampling: str
    network: Mapping[str, Any]
    latent: tuple[int, ...]
    text: tuple[int, int]
    pooled: int = 16
    extras: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    marks: Mapping[str, Callable[[], torch.Tensor]] = field(default_factory=dict)
    gain: float = 1.0
    loader: str = ""
    patch: Callable[[Any], Any] = lambda model: model

    def load(self, folder: Path) -> Loaded:
        """Build the model, through a file in ``folder`` if the family has a loader. Call in inference mode."""
        model = self._from_file(folder) if self.loader else self.direct()
        conds = [self._conditioning(seed) for seed in (1, 2)]
        return Loaded(self.patch(model), *conds, lambda batch: {"samples": torch.zeros(batch, *self.latent)})

    def direct(self) -> Any:
        """A model patcher with random weights, built without a file."""
        import comfy.supported_models

        network = dict(self.network) | newer_parameters(self.network.get("image_model"))
        config = getattr(comfy.supported_models, self.config)(dict(network))
        config.unet_config |= network  # a class may set its own number of heads
        config.set_inference_dtype(torch.float32, None)
        return patcher(config.get_model({name: make() for name, make in self.marks.items()}), self.gain)

    def _from_file(self, folder: Path) -> Any:
        import comfy.sd
        from safetensors.torch import save_file

        path = folder / f"{self.config}.safetensors"
        built = self.direct()
        prefix = "" if self.loader == "load_diffusion_model" else "model.diffusion_model."
        weights = {prefix + name: value.clone() for name, value in built.model.diffusion_model.state_dict().items()}
        save_file(weights, path)
        if self.loader == "load_diffusion_model":
            model = comfy.sd.load_diffusion_model(str(path))
        else:
            model = comfy.sd.load_checkpoint_guess_config(str(path), output_vae=False, output_clip=False)[0]
        path.unlink()
        assert type(model.model.model_config).__name__ == self.config
        found = model.model.diffusion_model.state_dict()
        assert all(torch.equal(value, found[name[len(prefix) :]]) for name, value in weights.items())
        return model

    def _conditioning(self, seed: int) -> Any:
        (entry,) = conditioning(*self.text, self.pooled, seed)
        return [[entry[0], entry[1] | {name: make() for name, make in self.extras.items()}]]


def numbers(*shape: int) -> Callable[[], torch.Tensor]:
    """A function that returns the same random numbers of a shape each time."""
    return lambda: torch.randn(shape, generator=torch.Generator().manual_seed(7))


def _ones(*shape: int) -> Callable[[], torch.Tensor]:
    return lambda: torch.ones(shape, dtype=torch.long)


def _unet(**changed: Any) -> dict[str, Any]:
    return {
        "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": [1, 1],
        "channel_mult": (1, 2), "transformer_depth": [1, 1], "transformer_depth_output": [1, 1, 1, 1],
        "transformer_depth_middle": 1, "use_spatial_transformer": True, "context_dim": 16, "legacy": False, "num_heads": 4,
    } | changed  # fmt: skip


def _sdxl(**changed: Any) -> dict[str, Any]:
    # the pooled prompt and six image sizes of 256 elements each, as SDXL embeds them
    return _unet(
        num_classes="sequential", adm_in_channels=16 + 6 * 256, use_linear_in_transformer=True, num_heads=-1,
        num_head_channels=16, **changed,
    )  # fmt: skip


def _flux(**changed: Any) -> dict[str, Any]:
    return {
        "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 16, "context_in_dim": 32, "hidden_size": 64,
        "mlp_ratio": 2.0, "num_heads": 2, "depth": 1, "depth_single_blocks": 1, "axes_dim": [8, 12, 12], "theta": 10000,
        "patch_size": 2, "qkv_bias": True, "guidance_embed": True,
    } | changed  # fmt: skip


def _lumina(**changed: Any) -> dict[str, Any]:
    return {
        "image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 64, "n_layers": 2, "n_refiner_layers": 1,
        "n_heads": 2, "n_kv_heads": 2, "multiple_of": 32, "ffn_dim_multiplier": 1.0, "qk_norm": True, "cap_feat_dim": 32,
        "axes_dims": [8, 12, 12], "axes_lens": [30, 51, 51],
    } | changed  # fmt: skip


def _hunyuan(**changed: Any) -> dict[str, Any]:
    return {
        "image_model": "hunyuan_video", "in_channels": 16, "out_channels": 16, "vec_in_dim": 768, "context_in_dim": 32,
        "hidden_size": 128, "mlp_ratio": 4.0, "num_heads": 1, "depth": 1, "depth_single_blocks": 1, "axes_dim": [16, 56, 56],
        "theta": 256, "patch_size": [1, 2, 2], "qkv_bias": True, "guidance_embed": True, "byt5": False, "meanflow": False,
        "use_cond_type_embedding": False, "vision_in_dim": None,
    } | changed  # fmt: skip


def _wan(**changed: Any) -> dict[str, Any]:
    return {"image_model": "wan2.1", "dim": 128, "ffn_dim": 64, "text_dim": 4096, "num_heads": 1, "num_layers": 1} | changed


def _x0(model: Any) -> Any:
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    return ModelSamplingDiscrete().patch(model, "x0", zsnr=False)[0]


FAMILIES: dict[str, Family] = {
    "SD1.5": Family(
        "SD15", "EPS",
        _unet(
            model_channels=320, num_res_blocks=[1], channel_mult=(1,), transformer_depth=[1], transformer_depth_output=[0, 0],
            transformer_depth_middle=-2, context_dim=768, num_heads=8,
        ),
        (4, 8, 8), (7, 768), gain=2.0, loader="load_checkpoint_guess_config",
    ),
    "SDXL": Family("SDXL", "EPS", _sdxl(), (4, 8, 8), (7, 16), gain=2.0),
    "PixArt Sigma": Family(
        "PixArtSigma", "EPS",
        {
            "image_model": "pixart_sigma", "hidden_size": 48, "depth": 2, "num_heads": 2, "caption_channels": 16,
            "model_max_length": 8, "micro_condition": False, "input_size": 8,
        },
        (4, 34, 34), (8, 16), gain=1.5,
    ),
    "Stable Cascade C": Family(
        "Stable_Cascade_C", "EPS",
        {
            "stable_cascade_stage": "c", "c_cond": 32, "c_hidden": [32, 32], "nhead": [2, 2], "blocks": [[1, 1], [1, 1]],
            "c_clip_text": 16, "c_clip_text_pooled": 16,
        },
        (16, 8, 8), (5, 16), gain=3.0,
    ),
    "SD2.1-v": Family(
        "SD20", "V_PREDICTION", _unet(use_linear_in_transformer=True, num_heads=-1, num_head_channels=16),
        (4, 8, 8), (7, 16), gain=2.0,
        marks={"output_blocks.11.1.transformer_blocks.0.norm1.bias": numbers(32)},
    ),
    "Lotus": Family(
        "LotusD", "IMG_TO_IMG",
        _unet(
            num_classes="sequential", adm_in_channels=4, use_linear_in_transformer=True, num_heads=-1, num_head_channels=16,
        ),
        (4, 8, 8), (7, 16), gain=2.0,
    ),
    "Hunyuan-DiT": Family(
        "HunyuanDiT", "V_PREDICTION",
        {
            "image_model": "hydit", "hidden_size": 64, "depth": 4, "num_heads": 2, "text_states_dim": 16,
            "text_states_dim_t5": 32, "text_len": 5, "text_len_t5": 6, "size_cond": False, "use_style_cond": False,
        },
        (4, 8, 8), (5, 16),
        extras={
            "attention_mask": _ones(1, 5), "conditioning_mt5xl": numbers(1, 6, 32),
            "attention_mask_mt5xl": _ones(1, 6),
        },
    ),
    "Stable Audio": Family(
        "StableAudio", "V_PREDICTION", {"embed_dim": 768, "depth": 2, "num_heads": 2, "audio_model": "dit1.0"},
        (64, 12), (5, 768),
        marks={
            f"conditioner.conditioners.seconds_{which}.embedder.embedding.{name}": numbers(*shape)
            for which in ("start", "total")
            for name, shape in {"0.weights": (128,), "1.weight": (768, 257), "1.bias": (768,)}.items()
        },
    ),
    "Stable Video Diffusion": Family(
        "SVD_img2vid", "V_PREDICTION",
        _unet(
            in_channels=8, num_classes="sequential", adm_in_channels=768, use_linear_in_transformer=True, num_heads=-1,
            num_head_channels=16, extra_ff_mix_layer=True, use_spatial_context=True, merge_strategy="learned_with_images",
            merge_factor=0.0, video_kernel_size=[3, 1, 1], use_temporal_resblock=True, use_temporal_attention=True,
            disable_temporal_crossattention=False,
        ),
        (4, 8, 8), (1, 16), gain=2.0, extras={"concat_latent_image": numbers(1, 4, 8, 8)},
    ),
    "Playground 2.5": Family(
        "SDXL", "EDM", _sdxl(), (4, 8, 8), (7, 16), gain=2.0, marks={"edm_mean": numbers(4), "edm_std": numbers(4)}
    ),
    "SD1.5, x0": Family("SD15", "X0", _unet(), (4, 8, 8), (7, 16), gain=2.0, patch=_x0),
    "Cosmos Predict2": Family(
        "CosmosT2IPredict2", "COSMOS_RFLOW",
        {
            "image_model": "cosmos_predict2", "max_img_h": 16, "max_img_w": 16, "max_frames": 8, "in_channels": 16,
            "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "concat_padding_mask": True, "model_channels": 64,
            "num_blocks": 2, "num_heads": 2, "crossattn_emb_channels": 32, "pos_emb_cls": "rope3d", "mlp_ratio": 2.0,
            "use_adaln_lora": True, "adaln_lora_dim": 16, "extra_per_block_abs_pos_emb": False,
        },
        (16, 2, 4, 4), (5, 32),
    ),
    "SD3": Family(
        "SD3", "CONST",
        {
            "in_channels": 16, "out_channels": 16, "patch_size": 2, "depth": 2, "input_size": None, "adm_in_channels": 32,
            "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 48, "out_features": 128}},
            "num_patches": 64, "pos_embed_max_size": 8, "pos_embed_scaling_factor": None, "x_block_self_attn_layers": [],
        },
        (16, 8, 8), (5, 48), 32, loader="load_diffusion_model",
    ),
    "Flux": Family("Flux", "CONST", _flux(), (16, 8, 8), (5, 32)),
    "Flux 2": Family(
        "Flux2", "CONST",
        _flux(
            image_model="flux2", in_channels=128, out_channels=128, vec_in_dim=None, axes_dim=[8, 8, 8, 8], theta=2000,
            patch_size=1, qkv_bias=False, global_modulation=True, mlp_silu_act=True, ops_bias=False,
        ),
        (128, 4, 4), (5, 32),
    ),
    "Chroma": Family(
        "Chroma", "CONST",
        {
            "image_model": "chroma", "in_channels": 64, "out_channels": 64, "context_in_dim": 32, "hidden_size": 64,
            "mlp_ratio": 2.0, "num_heads": 2, "depth": 1, "depth_single_blocks": 1, "axes_dim": [8, 12, 12], "theta": 10000,
            "patch_size": 2, "qkv_bias": True, "in_dim": 64, "out_dim": 64, "hidden_dim": 32, "n_layers": 1,
        },
        (16, 8, 8), (5, 32),
    ),
    "Chroma Radiance": Family(
        "ChromaRadiance", "CONST",
        {
            "image_model": "chroma_radiance", "in_channels": 3, "out_channels": 3, "context_in_dim": 32, "hidden_size": 64,
            "mlp_ratio": 2.0, "num_heads": 2, "depth": 1, "depth_single_blocks": 1, "axes_dim": [8, 12, 12], "theta": 10000,
            "patch_size": 16, "qkv_bias": True, "in_dim": 64, "out_dim": 64, "hidden_dim": 32, "n_layers": 1,
            "nerf_hidden_size": 16, "nerf_mlp_ratio": 2, "nerf_depth": 1, "nerf_max_freqs": 4, "nerf_tile_size": 0,
            "nerf_final_head_type": "conv", "nerf_embedder_dtype": None,
        },
        (3, 32, 32), (5, 32),
    ),
    "AuraFlow": Family(
        "AuraFlow", "CONST",
        {"dim": 64, "global_conddim": 64, "n_layers": 2, "n_double_layers": 1, "n_heads": 2, "cond_seq_dim": 32, "max_seq": 64},
        (4, 8, 8), (5, 32),
    ),
    "Lumina 2": Family("Lumina2", "CONST", _lumina(), (16, 8, 8), (5, 32)),
    "Z-Image": Family(
        "ZImage", "CONST",
        _lumina(dim=256, n_layers=1, n_heads=8, n_kv_heads=8, z_image_modulation=True, time_scale=1000.0, pad_tokens_multiple=8),
        (16, 8, 8), (5, 32),
    ),
    "HiDream": Family(
        "HiDream", "CONST",
        {
            "image_model": "hidream", "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 1,
            "num_single_layers": 1, "attention_head_dim": 32, "num_attention_heads": 2, "caption_channels": [32, 32],
            "text_emb_dim": 16, "num_routed_experts": 2, "num_activated_experts": 2, "axes_dims_rope": (16, 8, 8),
            "max_resolution": (32, 32), "llama_layers": [0, 1],
        },
        (16, 8, 8), (5, 32), extras={"conditioning_llama3": numbers(1, 2, 5, 32)},
    ),
    "OmniGen2": Family(
        "Omnigen2", "CONST",
        {
            "image_model": "omnigen2", "hidden_size": 96, "num_layers": 1, "num_refiner_layers": 1, "num_attention_heads": 2,
            "num_kv_heads": 1, "multiple_of": 32, "axes_dim_rope": [16, 16, 16], "axes_lens": [32, 32, 32], "text_feat_dim": 32,
            "timestep_scale": 1000.0,
        },
        (16, 8, 8), (5, 32), extras={"attention_mask": _ones(1, 5)},
    ),
    "Qwen-Image": Family(
        "QwenImage", "CONST",
        {
            "image_model": "qwen_image", "in_channels": 64, "num_layers": 2, "attention_head_dim": 32, "num_attention_heads": 2,
            "joint_attention_dim": 32, "axes_dims_rope": (8, 12, 12),
        },
        (16, 1, 8, 8), (5, 32),
    ),
    "HunyuanImage 2.1": Family(
        "HunyuanImage21", "CONST",
        _hunyuan(in_channels=64, out_channels=64, vec_in_dim=None, axes_dim=[64, 64], patch_size=[1, 1], guidance_embed=False),
        (64, 4, 4), (5, 32), loader="load_diffusion_model",
    ),
    "Wan 2.1": Family("WAN21_T2V", "CONST", _wan(model_type="t2v"), (16, 3, 4, 4), (3, 4096), loader="load_diffusion_model"),
    "Wan 2.1, VACE": Family(
        "WAN21_Vace", "CONST", _wan(model_type="vace", vace_layers=1, vace_in_dim=96), (16, 3, 4, 4), (3, 4096)
    ),
    "Wan 2.1, image to video": Family(
        "WAN21_I2V", "CONST", _wan(model_type="i2v", in_dim=36), (16, 3, 4, 4), (3, 4096),
        extras={"concat_latent_image": numbers(1, 16, 3, 4, 4)},
    ),
    "HunyuanVideo 1.5": Family(
        "HunyuanVideo15", "CONST",
        _hunyuan(
            in_channels=65, out_channels=32, vec_in_dim=None, patch_size=[1, 1, 1], guidance_embed=False, vision_in_dim=1152,
        ),
        (32, 3, 4, 4), (5, 32),
    ),
    "HunyuanVideo": Family(
        "HunyuanVideo", "CONST", _hunyuan(), (16, 3, 4, 4), (5, 32), 768, loader="load_diffusion_model"
    ),
    "LTX-Video": Family(
        "LTXV", "CONST", {"image_model": "ltxv", "cross_attention_dim": 256, "attention_head_dim": 8, "num_layers": 1},
        (128, 3, 2, 2), (3, 4096), extras={"attention_mask": _ones(1, 3)}, loader="load_diffusion_model",
    ),
    "Mochi": Family(
        "GenmoMochi", "CONST",
        {
            "image_model": "mochi_preview", "depth": 2, "patch_size": 2, "num_heads": 2, "hidden_size_x": 64, "hidden_size_y": 32,
            "mlp_ratio_x": 192.0, "mlp_ratio_y": 192.0, "learn_sigma": False, "in_channels": 12, "qk_norm": True,
            "qkv_bias": False, "out_bias": True, "attn_drop": 0.0, "timestep_scale": 1000.0, "use_t5": True, "t5_feat_dim": 32,
            "t5_token_length": 5,
        },
        (12, 2, 4, 4), (5, 32), extras={"attention_mask": _ones(1, 5)},
    ),
    "ACE-Step": Family(
        "ACEStep", "CONST",
        {
            "audio_model": "ace", "num_layers": 1, "attention_head_dim": 32, "num_attention_heads": 2, "text_embedding_dim": 32,
            "lyric_encoder_vocab_size": 16, "lyric_hidden_size": 1024, "ssl_latent_dims": [16, 16], "max_position": 256,
        },
        (8, 16, 8), (5, 32), extras={"conditioning_lyrics": lambda: torch.arange(4)[None]},
    ),
    "Hunyuan3D 2": Family(
        "Hunyuan3Dv2", "CONST",
        {
            "image_model": "hunyuan3d2", "in_channels": 64, "context_in_dim": 32, "hidden_size": 64, "mlp_ratio": 4.0,
            "num_heads": 16, "depth": 1, "depth_single_blocks": 1, "qkv_bias": True, "guidance_embed": False,
        },
        (64, 12), (5, 32), loader="load_diffusion_model",
    ),
    "Hunyuan3D 2.1": Family(
        "Hunyuan3Dv2_1", "CONST",
        {
            "image_model": "hunyuan3d2_1", "in_channels": 64, "hidden_size": 64, "context_dim": 32, "depth": 2, "num_heads": 2,
            "num_moe_layers": 1, "num_experts": 2, "guidance_cond_proj_dim": 64,
        },
        (64, 12), (5, 32),
    ),
}  # fmt: skip
