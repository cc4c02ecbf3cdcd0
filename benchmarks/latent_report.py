"""Prints the errors and draws the sample sheet of ``benchmarks/README.md``; the second part of ``make train-latent``."""

from pathlib import Path

import comfy.utils
import matplotlib as mpl
import torch
from comfy.model_patcher import ModelPatcher
from comfy.sd import CLIP
from torch import Tensor

from demo import data
from demo.report import draw_sheet, sample
from demo.train import WORK

from . import latent_model

PROMPTS = ("grinning face", "cat face", "panda", "heart", "pizza", "strawberry", "rocket", "flag japan")
SHEET = Path(__file__).with_name("latent_samples.jpg")
RATIOS = (0.1, 0.3, 1.0, 3.0, 10.0)  # noise to signal


def rms(difference: Tensor) -> float:
    """Root mean square."""
    return difference.square().mean().sqrt().item()


def denoising_error(patcher: ModelPatcher, clip: CLIP, latents: Tensor, captions: list[str], ratio: float) -> float:
    """Root-mean-square error of denoised latents at a noise-to-signal ratio, for a noise-predicting model and the captions."""
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    conditions = [clip.encode_from_tokens_scheduled(clip.tokenize(caption))[0] for caption in captions]
    context = torch.cat([c[0][:, :8] for c in conditions])
    pooled = torch.cat([c[1]["pooled_output"] for c in conditions])
    level = torch.full((len(latents),), ratio)
    return rms(patcher.model.apply_model(latents + ratio * noise, level, c_crossattn=context, y=pooled) - latents)


def print_errors(patcher: ModelPatcher, clip: CLIP, codec: latent_model.PatchCodec) -> None:
    """Print the errors of autoencoder and network, on every 20th training picture and on the held-out ones."""
    pictures = data.load(data.download(WORK))
    for label, chosen in (("seen", pictures[::20]), ("held out", [p for p in pictures if p.held_out])):
        pixels = torch.stack([p.pixels for p in chosen])
        latents = codec.project(pixels)
        lost = rms(codec.expand(latents) - pixels)
        errors = [denoising_error(patcher, clip, latents, [" ".join(p.words) for p in chosen], ratio) for ratio in RATIOS]
        left = ", ".join(f"{error:.3f} at {ratio}" for ratio, error in zip(RATIOS, errors, strict=True))
        print(f"{len(chosen)} {label}: latents {rms(latents):.2f}, pixels lost {lost:.3f} of {rms(pixels):.2f}; error {left}")


if __name__ == "__main__":
    mpl.use("agg")
    comfy.utils.set_progress_bar_enabled(False)
    with torch.inference_mode():
        loaded = latent_model.load()
        print_errors(*loaded)
        draw_sheet(sample(*loaded, latent_model.LATENT, PROMPTS), SHEET)
