"""Model families at toy size in ComfyUI's own classes, loaded by ComfyUI's loader where it can detect such a size in a file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from real_models import Loaded, conditioning, newer_parameters, patcher

# The version of ComfyUI in which the later families were run.
LATER = (0, 33)


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
        later: whether versions of ComfyUI before ``LATER`` lack the family.
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
    later: bool = False

    def load(self, folder: Path) -> Loaded:
        """Build the model, through a file in ``folder`` if the family has a loader. Call in inference mode."""
        model = self._from_file(folder) if self.loader else self.direct()
        conds = [self._conditioning(seed) for seed in (1, 2)]
        return Loaded(self.patch(model), *conds, lambda batch: {"samples": torch.zeros(batch, *self.latent)})

    def direct(self) -> Any:
        """A model patcher with random weights, built without a file."""
        import comfy.supported_models

        network = newer_parameters(self.network.get("image_model")) | dict(self.network)
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
        num_head_channels=16,
    ) | changed  # fmt: skip


def _predict2(kind: str, text: int) -> dict[str, Any]:
    """Cosmos Predict2 and what was made of it, for prompts of this width."""
    return {
        "image_model": kind, "max_img_h": 16, "max_img_w": 16, "max_frames": 8, "in_channels": 16, "out_channels": 16,
        "patch_spatial": 2, "patch_temporal": 1, "concat_padding_mask": True, "model_channels": 64, "num_blocks": 2,
        "num_heads": 2, "crossattn_emb_channels": text, "pos_emb_cls": "rope3d", "mlp_ratio": 2.0, "use_adaln_lora": True,
        "adaln_lora_dim": 16, "extra_per_block_abs_pos_emb": False,
    }  # fmt: skip


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


def _kandinsky(**changed: Any) -> dict[str, Any]:
    return {
        "image_model": "kandinsky5", "in_text_dim": 32, "in_text_dim2": 16, "time_dim": 32, "model_dim": 64, "ff_dim": 64,
        "num_text_blocks": 1, "num_visual_blocks": 1, "axes_dims": (8, 12, 12),
    } | changed  # fmt: skip


def _pixeldit(**changed: Any) -> dict[str, Any]:
    return {
        "num_groups": 2, "hidden_size": 64, "pixel_hidden_size": 8, "pixel_attn_hidden_size": 32, "pixel_num_groups": 2,
        "patch_depth": 1, "pixel_depth": 1, "txt_embed_dim": 32, "txt_max_length": 8,
    } | changed  # fmt: skip


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
    "SDXL refiner": Family(
        "SDXLRefiner", "EPS", _sdxl(adm_in_channels=16 + 5 * 256), (4, 8, 8), (7, 16), gain=2.0
    ),
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
        _predict2("cosmos_predict2", 32),
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
    "Wan 2.1, Fun Control": Family(
        "WAN21_FunControl2V", "CONST", _wan(model_type="i2v", in_dim=48, in_dim_ref_conv=16), (16, 3, 4, 4), (3, 4096),
        extras={
            "concat_latent_image": numbers(1, 32, 3, 4, 4), "reference_latents": lambda: [numbers(1, 16, 1, 4, 4)()],
        },
        loader="load_diffusion_model",
    ),
    "Wan 2.1, camera": Family(
        "WAN21_Camera", "CONST", _wan(model_type="camera", in_dim=32), (16, 3, 4, 4), (3, 4096),
        extras={"concat_latent_image": numbers(1, 16, 3, 4, 4), "camera_conditions": numbers(1, 24, 3, 32, 32)},
        loader="load_diffusion_model",
    ),
    "Wan 2.2, camera": Family(
        "WAN22_Camera", "CONST", _wan(model_type="camera_2.2", in_dim=36), (16, 3, 4, 4), (3, 4096),
        extras={"concat_latent_image": numbers(1, 16, 3, 4, 4), "camera_conditions": numbers(1, 24, 3, 32, 32)},
        loader="load_diffusion_model",
    ),
    "Wan 2.1, HuMo": Family(
        "WAN21_HuMo", "CONST", _wan(model_type="humo", in_dim=36), (16, 3, 4, 4), (3, 4096),
        extras={"reference_latents": lambda: [numbers(1, 16, 1, 4, 4)()], "audio_embed": numbers(1, 3, 8, 5, 1280)},
        loader="load_diffusion_model",
    ),
    "Wan 2.2 5B": Family(
        "WAN22_T2V", "CONST", _wan(model_type="t2v", in_dim=48, out_dim=48), (48, 3, 4, 4), (3, 4096),
        loader="load_diffusion_model",
    ),
    "Wan 2.2, speech to video": Family(
        "WAN22_S2V", "CONST", _wan(model_type="s2v"), (16, 3, 4, 4), (3, 4096),
        extras={
            "audio_embed": numbers(1, 25, 1024, 12), "reference_latents": lambda: [numbers(1, 16, 1, 4, 4)()],
            "control_video": numbers(1, 16, 3, 4, 4),
        },
        loader="load_diffusion_model",
    ),
    "Wan 2.2, Animate": Family(
        "WAN22_Animate", "CONST", _wan(model_type="animate", in_dim=36, num_layers=5), (16, 3, 4, 4), (3, 4096),
        extras={"concat_latent_image": numbers(1, 16, 3, 4, 4), "pose_video_latent": numbers(1, 16, 2, 4, 4)},
        loader="load_diffusion_model",
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
    "CogVideoX (VOID)": Family(
        "CogVideoX_Inpaint", "V_PREDICTION_DDPM",
        {
            "image_model": "cogvideox", "num_attention_heads": 48, "attention_head_dim": 16, "in_channels": 48,
            "out_channels": 16, "time_embed_dim": 32, "text_embed_dim": 32, "num_layers": 1, "patch_size_t": 2,
            "use_rotary_positional_embeddings": True,
        },
        (16, 3, 4, 4), (5, 32), extras={"concat_latent_image": numbers(1, 32, 3, 4, 4)}, later=True,
    ),
    "Anima": Family(
        "Anima", "CONST",
        _predict2("anima", 1024),
        (16, 1, 8, 8), (5, 1024), extras={"t5xxl_ids": lambda: torch.arange(4), "t5xxl_weights": lambda: torch.ones(4)},
        later=True,
    ),
    "Boogu": Family(
        "Boogu", "CONST",
        {
            "image_model": "boogu", "hidden_size": 96, "num_layers": 1, "num_double_stream_layers": 1,
            "num_refiner_layers": 1, "num_attention_heads": 2, "num_kv_heads": 1, "multiple_of": 32,
            "axes_dim_rope": [16, 16, 16], "axes_lens": [32, 32, 32], "instruction_feat_dim": 32,
        },
        (16, 8, 8), (5, 32), extras={"attention_mask": _ones(1, 5)}, later=True,
    ),
    "ERNIE-Image": Family(
        "ErnieImage", "CONST",
        {
            "image_model": "ernie", "hidden_size": 64, "num_attention_heads": 2, "num_layers": 1, "ffn_hidden_size": 64,
            "text_in_dim": 32, "rope_axes_dim": (8, 12, 12),
        },
        (128, 4, 4), (5, 32), later=True,
    ),
    "HiDream O1": Family(
        "HiDreamO1", "CONST",
        {
            "image_model": "hidream_o1",
            "text_config_overrides": {
                "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                "num_key_value_heads": 1, "head_dim": 32, "rope_dims": [6, 5, 5],
            },
            "vision_config_overrides": {
                "hidden_size": 32, "num_heads": 2, "intermediate_size": 32, "depth": 1, "num_position_embeddings": 16,
            },
        },
        (3, 64, 64), (1, 1), extras={"text_input_ids": lambda: torch.tensor([[1, 2, 3, 4, 5, 151673]])}, later=True,
    ),
    "Ideogram 4": Family(
        "Ideogram4", "CONST",
        {
            "image_model": "ideogram4", "num_layers": 1, "num_attention_heads": 2, "attention_head_dim": 32,
            "intermediate_size": 64, "adaln_dim": 16, "llm_features_dim": 32, "mrope_section": [6, 5, 5],
        },
        (128, 4, 4), (5, 32), later=True,
    ),
    "JoyAI": Family(
        "JoyImage", "CONST",
        {
            "image_model": "joyimage", "hidden_size": 64, "num_attention_heads": 2, "text_dim": 32, "num_layers": 1,
            "rope_dim_list": [8, 12, 12],
        },
        (16, 1, 8, 8), (5, 32), extras={"reference_latents": lambda: [numbers(1, 16, 1, 8, 8)()]}, later=True,
    ),
    "Kandinsky 5": Family(
        "Kandinsky5", "CONST", _kandinsky(visual_embed_dim=132), (16, 3, 4, 4), (5, 32), later=True
    ),
    "Kandinsky 5, image": Family(
        "Kandinsky5Image", "CONST", _kandinsky(visual_embed_dim=64), (16, 8, 8), (5, 32), later=True
    ),
    "Krea 2": Family(
        "Krea2", "CONST",
        {
            "image_model": "krea2", "features": 64, "heads": 2, "kvheads": 1, "multiplier": 2, "layers": 1, "txtdim": 32,
            "txtlayers": 2, "txtheads": 2, "txtkvheads": 2,
        },
        (16, 1, 8, 8), (5, 64), later=True,
    ),
    "Lens": Family(
        "Lens", "CONST",
        {
            "image_model": "lens", "num_layers": 1, "attention_head_dim": 32, "num_attention_heads": 2,
            "enc_hidden_dim": 32, "axes_dims_rope": (8, 12, 12), "selected_layer_index": (0, 1),
        },
        (128, 4, 4), (5, 64), extras={"attention_mask": _ones(1, 5)}, later=True,
    ),
    "LongCat": Family(
        "LongCatImage", "CONST", _flux(vec_in_dim=None, guidance_embed=False, txt_ids_dims=[1, 2]), (16, 8, 8), (5, 32),
        later=True,
    ),
    "Mage Flow": Family(
        "MageFlow", "CONST",
        {
            "image_model": "mage_flow", "num_layers": 1, "attention_head_dim": 32, "num_attention_heads": 2,
            "joint_attention_dim": 32, "axes_dims_rope": (8, 12, 12),
        },
        (128, 4, 4), (5, 32), later=True,
    ),
    "NewBie": Family("Lumina2", "CONST", _lumina(clip_text_dim=16), (16, 8, 8), (5, 32), later=True),
    "Ovis": Family(
        "Flux", "CONST",
        _flux(vec_in_dim=None, guidance_embed=False, yak_mlp=True, txt_norm=True, txt_ids_dims=[1, 2]), (16, 8, 8), (5, 32),
        later=True,
    ),
    "PixelDiT": Family("PixelDiTT2I", "CONST", _pixeldit(image_model="pixeldit_t2i"), (3, 32, 32), (5, 32), later=True),
    "PiD": Family(
        "PiD", "CONST", _pixeldit(image_model="pid", lq_hidden_dim=16, lq_num_res_blocks=1), (3, 32, 32), (5, 32),
        extras={"lq_latent": numbers(1, 16, 1, 1), "degrade_sigma": lambda: torch.tensor([0.2])}, later=True,
    ),
    "SeedVR2": Family(
        "SeedVR2", "CONST",
        {
            "image_model": "seedvr2", "norm_eps": 1e-5, "num_layers": 2, "mlp_type": "swiglu", "vid_dim": 64,
            "txt_in_dim": 32, "heads": 2, "head_dim": 32, "mm_layers": 1, "rope_dim": 32, "vid_out_norm": True,
        },
        (16, 3, 4, 4), (5, 32), extras={"condition": numbers(1, 17, 3, 4, 4)}, later=True,
    ),
    "ACE-Step 1.5": Family(
        "ACEStep15", "CONST",
        {
            "audio_model": "ace1.5", "hidden_size": 64, "text_hidden_dim": 32, "num_dit_layers": 1, "num_lyric_layers": 1,
            "num_timbre_layers": 1, "num_tokenizer_layers": 1, "num_heads": 2, "num_kv_heads": 1, "head_dim": 32,
            "intermediate_size": 64, "fsq_dim": 64, "encoder_hidden_size": 64, "encoder_intermediate_size": 64,
            "encoder_num_heads": 2,
        },
        (64, 12), (5, 32), extras={"conditioning_lyrics": numbers(1, 4, 32)}, later=True,
    ),
    "Stable Audio 3": Family(
        "StableAudio3", "CONST",
        {
            "audio_model": "dit1.0", "io_channels": 256, "embed_dim": 128, "cond_token_dim": 768, "global_cond_dim": 768,
            "project_cond_tokens": True, "depth": 1, "num_heads": 2, "global_cond_type": "adaLN",
            "timestep_features_type": "expo", "global_cond_shared_embed": True, "local_add_cond_dim": 257, "num_memory_tokens": 2,
            "norm_type": "rms_norm", "attn_kwargs": {"qk_norm": "rms", "differential": True},
        },
        (256, 12), (5, 768), later=True,
        marks={
            f"conditioner.conditioners.seconds_total.embedder.embedding.{name}": numbers(*shape)
            for name, shape in {"1.weight": (768, 256), "1.bias": (768,)}.items()
        } | {"conditioner.conditioners.prompt.padding_embedding": numbers(768)},
    ),
}  # fmt: skip
