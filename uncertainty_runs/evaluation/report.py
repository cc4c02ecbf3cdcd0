"""Tables of an evaluation: CSV to calculate with, Markdown to read."""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

from ..run_folder import write_whole

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


def _number(text: str) -> Cell:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
