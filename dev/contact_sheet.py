"""Draws a batch on one sheet, best score first: each image beside its overlay, kept ones in a green frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

from PIL import Image, ImageDraw, ImageEnhance, ImageFont

PAPER, INK, FAINT = "#fafafa", "#222222", "#777777"
KEPT, REJECTED = "#2e9e5b", "#c9a3a3"
ENLARGE = 3
COLUMNS = 4
GAP, FRAME, CAPTION, MARGIN, HEAD = 14, 4, 28, 28, 92


@dataclass(frozen=True)
class Picture:
    """One image of a batch with its overlay, score and verdict."""

    image: Image.Image
    overlay: Image.Image
    index: int
    score: float
    standard_error: float
    kept: bool


def measured(score: float, error: float) -> str:
    """A score with as many decimals as its standard error supports."""
    decimals = max(0, 1 - floor(log10(error))) if error > 0 else 4
    return f"{score:.{decimals}f} ± {error:.{decimals}f}"


def contact_sheet(pictures: Sequence[Picture], title: str, subtitle: str) -> Image.Image:
    """Draw the pictures in the given order; all have the size of the first."""
    width, height = (size * ENLARGE for size in pictures[0].image.size)
    cell_width, cell_height = 2 * width + 2 * FRAME, height + 2 * FRAME + CAPTION
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    size = (
        2 * MARGIN + columns * cell_width + (columns - 1) * GAP,
        HEAD + rows * cell_height + (rows - 1) * GAP + MARGIN,
    )
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 20), title, INK, ImageFont.load_default(size=28))
    draw.text((MARGIN, 58), subtitle, FAINT, ImageFont.load_default(size=18))
    text = ImageFont.load_default(size=17)
    for position, picture in enumerate(pictures):
        row, column = divmod(position, columns)
        left = MARGIN + column * (cell_width + GAP)
        top = HEAD + row * (cell_height + GAP)
        right, bottom = left + cell_width, top + cell_height
        colour = KEPT if picture.kept else REJECTED
        draw.rectangle((left, top, right - 1, bottom - 1), colour)
        for side, content in enumerate((picture.image, picture.overlay)):
            large = content.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
            if not picture.kept:
                large = Image.blend(ImageEnhance.Color(large).enhance(0.3), Image.new("RGB", large.size, PAPER), 0.15)
            sheet.paste(large, (left + FRAME + side * width, top + FRAME))
        caption = f"{position + 1}.  {measured(picture.score, picture.standard_error)}"
        middle = bottom - (CAPTION + FRAME) // 2
        ink = "white" if picture.kept else INK
        draw.text((left + 2 * FRAME, middle), caption, ink, text, anchor="lm")
        verdict = f"{'kept' if picture.kept else 'rejected'}   #{picture.index}"
        draw.text((right - 2 * FRAME, middle), verdict, ink, text, anchor="rm")
    return sheet
