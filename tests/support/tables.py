"""Reads the tables of an evaluation."""

import csv
from pathlib import Path

from uncertainty_runs.evaluation.report import Cell, Table, file_name


def read_table(folder: Path, name: str) -> Table:
    """Read a table that ``write`` has written."""
    with (folder / file_name(name, ".csv")).open(newline="", encoding="utf-8") as file:
        head, *rows = list(csv.reader(file))
    return Table(name, tuple(head), [tuple(_number(cell) for cell in row) for row in rows])


def _number(text: str) -> Cell:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
