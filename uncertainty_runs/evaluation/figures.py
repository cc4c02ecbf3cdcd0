"""Figures of the protocols. The only module that needs matplotlib."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uncertainty.quantities import PROBED
from uncertainty.storage.atomic import write_whole
from uncertainty.storage.records import ImageRecord
from uncertainty.storage.tensor_files import load_map

from ..run_folder import map_of
from .judges import Reference, pixels
from .reconstruction_protocol import Measured, maps_of
from .report import Table


def sheet(rows: Sequence[tuple[str, Sequence[Path]]], path: Path, size: int = 96) -> None:
    """Contact sheet with a titled row for each list of pictures. It is a JPEG file, since noisy pictures make large PNG files."""
    from PIL import Image, ImageDraw, ImageFont

    title, gap = 22, 6
    columns = max(len(pictures) for _, pictures in rows)
    canvas = Image.new("RGB", (gap + columns * (size + gap), len(rows) * (title + size + gap) + gap), "white")
    draw = ImageDraw.Draw(canvas)
    for number, (text, pictures) in enumerate(rows):
        top = gap + number * (title + size + gap)
        draw.text((gap, top + title // 2), text, "#222222", ImageFont.load_default(14), "lm")
        for column, picture in enumerate(pictures):
            with Image.open(picture) as image:
                small = image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
            canvas.paste(small, (gap + column * (size + gap), top + title))
    content = io.BytesIO()
    canvas.save(content, "JPEG", quality=90, subsampling=0)
    write_whole(path, content.getvalue())


def best_of(table: Table, path: Path) -> None:
    """Share of the possible gain over k, with a panel for each quality measure."""
    qualities = list(dict.fromkeys(str(row[0]) for row in table.rows))
    made, axes = _figure(1, len(qualities), (5.0, 4.0))
    for axis, quality in zip(axes[0], qualities, strict=True):
        rows = [row for row in table.rows if row[0] == quality]
        ks = list(dict.fromkeys(row[2] for row in rows))
        for method in dict.fromkeys(str(row[1]) for row in rows):
            axis.plot(range(len(ks)), [row[6] for row in rows if row[1] == method], marker="o", label=method)
        axis.axhline(0, color="grey", linewidth=1)
        axis.set(title=quality, xlabel="k images of a prompt", ylabel="share of the possible gain")
        axis.set_xticks(range(len(ks)), [str(k) for k in ks])
    _legend_beside(made, axes[0][-1])
    _write(made, path)


def sparsification(measured: Sequence[Measured], path: Path) -> None:
    """Mean sparsification curves over the paper's window."""
    made, axes = _figure(1, 1, (6.5, 4.5))
    axis = axes[0][0]
    keys = [key for key in measured[0].curves if key[1] in ("paper", "–")]
    for key in keys:
        curve = np.mean([each.curves[key].curve for each in measured], 0)
        axis.plot(np.linspace(0, 1, len(curve)), curve, label=key[0])
    oracle = np.mean([each.curves[keys[0]].oracle_curve for each in measured], 0)
    axis.plot(np.linspace(0, 1, len(oracle)), oracle, "k--", label="true error")
    axis.set(xlabel="fraction of pixels removed, most uncertain first", ylabel="RMSE of the rest")
    axis.legend(frameon=False)
    _write(made, path)


def examples(images: Sequence[ImageRecord], reference: Reference, folder: Path, path: Path, rows: int = 6) -> None:
    """Some reconstructions with the real picture, their error, and the maps of the paper's steps, each in its own range."""
    first = {image.number: image for image in reversed(images)}
    chosen = [first[number] for number in sorted(first)][:: max(1, len(first) // rows)][:rows]
    made, axes = _figure(len(chosen), 3 + len(PROBED), (1.6, 1.6))
    for row, (line, image) in enumerate(zip(axes, chosen, strict=True)):
        number = image.number
        truth, prediction = pixels(reference.paths[number]), pixels(image.path)
        maps = maps_of(load_map(folder / map_of(number)), image.place, truth.shape, "paper")
        shown = {"real": truth, "reconstruction": prediction, "error": (truth - prediction).abs().mean(0)}
        shown |= {quantity: maps[quantity].mean(0) for quantity in PROBED}
        for axis, (title, picture) in zip(line, shown.items(), strict=True):
            axis.imshow((picture.permute(1, 2, 0) if picture.ndim == 3 else picture).numpy(), cmap="magma")
            axis.set_title(title if row == 0 else "", fontsize=8)
            axis.axis("off")
    _write(made, path)


def course(table: Table, path: Path) -> None:
    """Mean and standard deviation of each quantity over the steps."""
    names = [name for name in table.head[2:] if "spread" not in name]
    made, axes = _figure(1, len(names), (4.5, 3.6))
    steps = [float(row[0]) for row in table.rows]
    for axis, name in zip(axes[0], names, strict=True):
        column = table.head.index(name)
        mean, spread = (np.array([float(row[c]) for row in table.rows]) for c in (column, column + 1))
        axis.plot(steps, mean)
        axis.fill_between(steps, mean - spread, mean + spread, alpha=0.25)
        axis.set(title=name, xlabel="step")
    _write(made, path)


def ranking(table: Table, path: Path) -> None:
    """Rank correlation at single steps, with a panel for each quality measure."""
    qualities = list(dict.fromkeys(str(row[0]) for row in table.rows))
    made, axes = _figure(1, len(qualities), (5.0, 4.0))
    for axis, quality in zip(axes[0], qualities, strict=True):
        for quantity in dict.fromkeys(str(row[1]) for row in table.rows):
            rows = [row for row in table.rows if row[:2] == (quality, quantity)]
            axis.plot([int(row[2]) for row in rows], [row[3] for row in rows], label=quantity)
        axis.axhline(0, color="grey", linewidth=1)
        axis.set(title=quality, xlabel="step", ylabel="rank correlation within prompts")
    _legend_beside(made, axes[0][-1])
    _write(made, path)


def _figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.0, 3.6)) -> tuple[Any, Any]:
    """A matplotlib figure and its axes, (rows, columns), each of a size in inches.

    Raises:
        RuntimeError: matplotlib is not installed.
    """
    made = _library()(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    return made, made.subplots(rows, columns, squeeze=False)


def _legend_beside(made: Any, axis: Any) -> None:
    """One legend for all panels, beside them."""
    made.legend(*axis.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)


def check_library() -> None:
    """Raise RuntimeError if matplotlib is missing, which is better known before hours of work."""
    _library()


def _library() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeError("figures need matplotlib: pip install matplotlib") from error
    return Figure


def _write(made: Any, path: Path) -> None:
    content = io.BytesIO()
    made.savefig(content, format="png", dpi=110)
    write_whole(path, content.getvalue())
