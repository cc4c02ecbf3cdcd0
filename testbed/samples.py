"""Draws the sample sheet of ``testbed/README.md``: the last part of ``make train-styles``."""

import comfy.utils
import matplotlib as mpl
import torch

from demo.report import draw_sheet, sample

from .draw import MODELS
from .train import HERE

# A caption, then with the word of each style; combined words that no picture has; a caption seen in no style.
PROMPTS = (
    "grinning face", "grinning face noto", "grinning face twemoji", "grinning face fluent", "grinning face blob",
    "cat face", "penguin", "rocket", "pizza", "heart",
    "cat face sunglasses", "panda face tears joy", "pig face", "pot food",
)  # fmt: skip


if __name__ == "__main__":
    mpl.use("agg")
    comfy.utils.set_progress_bar_enabled(False)
    with torch.inference_mode():
        draw_sheet(sample(*MODELS["styles"]("noise prediction"), PROMPTS), HERE / "sample_sheet.jpg")
