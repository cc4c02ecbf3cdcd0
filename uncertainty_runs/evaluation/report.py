"""Tables of an evaluation, as CSV for programs and as Markdown for readers."""

import csv
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

from uncertainty.storage.atomic import write_whole
from uncertainty.storage.paths import FORBIDDEN

Cell = str | int | float
# Names of tables hold those of the user's own networks.
NOT_IN_FILES = re.compile(rf"[{FORBIDDEN}/\\\x00-\x1f]")


@dataclass(frozen=True)
class Table:
    """Rows under the titles of their columns.

    Attributes:
        name: of the files that the table is written to.
        head: titles of the columns.
        rows: a cell for each column.
    """

    name: str
    head: tuple[str, ...]
    rows: list[tuple[Cell, ...]]

    def markdown(self) -> str:
        """The table in Markdown, numbers rounded."""
        lines = [self.head, ("---",) * len(self.head), *[tuple(shown(cell) for cell in row) for row in self.rows]]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def pivot(self, name: str, row: str, column: str, cell: tuple[str, str], **where: Cell) -> "Table":
        """A table with a row for each value of one column and a column for each value of another.

        Args:
            name: of the new table.
            row: the column whose values become rows.
            column: the column whose values become columns.
            cell: the columns with the number and the interval that a cell shows.
            where: values of other columns, to choose rows by; spaces in titles are written as underscores.
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
        """Write ``name.csv`` and ``name.md``; characters that Windows forbids become hyphens."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.head)
        writer.writerows([[f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in self.rows])
        write_whole(folder / file_name(self.name, ".csv"), text.getvalue().encode())
        write_whole(folder / file_name(self.name, ".md"), (self.markdown() + "\n").encode())


def shown(cell: Cell) -> str:
    """A cell as text; numbers with three significant digits."""
    if not isinstance(cell, float):
        return str(cell)
    return "–" if math.isnan(cell) else f"{cell:.3g}"


def file_name(table: str, suffix: str) -> str:
    """Name of the file of a table."""
    return NOT_IN_FILES.sub("-", table) + suffix


def between(low: float, high: float) -> str:
    """An interval as text."""
    return f"{shown(low)} to {shown(high)}"
