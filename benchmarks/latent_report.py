"""The sample sheet of the latent model, the second half of ``make train-latent``."""

from pathlib import Path

import comfy.utils
import matplotlib as mpl
import torch

from demo.report import draw_sheet, sample

from . import latent_model

PROMPTS = ("grinning face", "cat face", "panda", "heart", "pizza", "strawberry", "rocket", "flag japan")
SHEET = Path(__file__).with_name("latent_samples.jpg")

if __name__ == "__main__":
    mpl.use("agg")
    comfy.utils.set_progress_bar_enabled(False)
    with torch.inference_mode():
        draw_sheet(sample(*latent_model.load(), latent_model.LATENT, PROMPTS), SHEET)
