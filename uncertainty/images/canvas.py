"""Drawing plots with Pillow, which ComfyUI installs: a canvas, axes, round ticks and the plots' colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

BACKGROUND, FIELD, GRID, TEXT, FAINT = "#1b1d23", "#22252d", "#363b46", "#eef0f4", "#a3abb8"

# Plots are drawn larger and scaled down, because Pillow does not smooth lines.
SCALE = 2


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers within the range, 1, 2, 2.5 or 5·10ⁿ apart, at most ``most`` of them."""
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Axis:
    """Maps values from low to high to pixels from start to end. If low equals high, values map to the middle."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel position of a value."""
        part = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + part * (self.end - self.start)


class Canvas:
    """Drawing with Pillow, in pixels of the finished picture."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width * SCALE, height * SCALE), BACKGROUND)
        self.draw = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, text: str, size: int, colour: str = TEXT, anchor: str = "ls") -> None:
        """Draw a line of text; ``anchor`` is one of Pillow's text anchors."""
        self.draw.text((x * SCALE, y * SCALE), text, colour, ImageFont.load_default(size * SCALE), anchor)

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float) -> None:
        """Draw a line through the points."""
        self.draw.line([(x * SCALE, y * SCALE) for x, y in points], colour, round(width * SCALE), joint="curve")

    def area(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        """Fill the polygon of the points."""
        self.draw.polygon([(x * SCALE, y * SCALE) for x, y in points], colour)

    def dot(self, x: float, y: float, radius: float, colour: str) -> None:
        """Draw a filled circle."""
        self.draw.circle((x * SCALE, y * SCALE), radius * SCALE, colour)

    def finished(self) -> Tensor:
        """The picture, (height, width, 3), 0 to 1."""
        size = (self.image.width // SCALE, self.image.height // SCALE)
        return torch.from_numpy(np.array(self.image.resize(size, Image.Resampling.LANCZOS), np.float32) / 255)


def mixed(colour: str, ground: str, opacity: float) -> str:
    """A colour over a background, both #rrggbb; opacity 0 to 1."""
    pairs = [(int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(opacity * a + (1 - opacity) * b):02x}" for a, b in pairs)
