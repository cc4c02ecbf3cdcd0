"""Tables and figures of an evaluation: CSV to calculate with, Markdown to read, PNG to look at; each whole or absent."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .collection import write_whole

Cell = str | int | float


@dataclass(frozen=True)
class Table:
    """Named rows under a head."""

    name: str
    head: tuple[str, ...]
    rows: list[tuple[Cell, ...]]

    def markdown(self) -> str:
        """As a page shows it."""
        lines = [self.head, ("---",) * len(self.head), *[tuple(shown(cell) for cell in row) for row in self.rows]]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def pivot(self, name: str, row: str, column: str, cell: tuple[str, str], **where: Cell) -> "Table":
        """A row for each value of one column, a column for each of another: a number and its interval in each cell.

        Args:
            name: of the new table.
            row: whose values become rows.
            column: whose values become columns.
            cell: columns of the number and of its interval.
            where: values of further columns that rows must have, spaces as underscores.
        """
        places = {title: index for index, title in enumerate(self.head)}
        wanted = {places[title.replace("_", " ")]: value for title, value in where.items()}
        rows = [r for r in self.rows if all(r[index] == value for index, value in wanted.items())]
        lines, columns = (list(dict.fromkeys(str(r[places[title]]) for r in rows)) for title in (row, column))
        cells = {(str(r[places[row]]), str(r[places[column]])): r for r in rows}

        def text(line: str, title: str) -> str:
            number, interval = (cells[line, title][places[part]] for part in cell)
            return f"{shown(number)} ({interval})"

        return Table(name, (row, *columns), [(line, *[text(line, title) for title in columns]) for line in lines])

    def write(self, folder: Path) -> None:
        """Keep it as ``name.csv`` and ``name.md``."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.head)
        writer.writerows([[f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in self.rows])
        write_whole(folder / f"{self.name}.csv", text.getvalue().encode())
        write_whole(folder / f"{self.name}.md", (self.markdown() + "\n").encode())


def shown(cell: Cell) -> str:
    """A number as a reader wants it."""
    if not isinstance(cell, float):
        return str(cell)
    return "–" if math.isnan(cell) else f"{cell:.3g}"


def read_table(folder: Path, name: str) -> Table:
    """A table that was written before."""
    with (folder / f"{name}.csv").open(newline="") as file:
        head, *rows = list(csv.reader(file))
    return Table(name, tuple(head), [tuple(_number(cell) for cell in row) for row in rows])


def between(low: float, high: float) -> str:
    """An interval in a cell."""
    return f"{shown(low)} to {shown(high)}"


def figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.0, 3.6)) -> tuple[Any, Any]:
    """A matplotlib figure and its axes (an array), each of a size in inches.

    Raises:
        RuntimeError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RuntimeError("figures need matplotlib: pip install matplotlib.") from error
    made = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    return made, made.subplots(rows, columns, squeeze=False)


def write_figure(made: Any, path: Path) -> None:
    """Keep it as PNG."""
    content = io.BytesIO()
    made.savefig(content, format="png", dpi=110)
    write_whole(path, content.getvalue())


def sheet(rows: Sequence[tuple[str, Sequence[Path]]], path: Path, size: int = 96) -> None:
    """Pictures as thumbnails, a titled row each, as PNG."""
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
    canvas.save(content, "PNG", optimize=True)
    write_whole(path, content.getvalue())


def _number(text: str) -> Cell:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
