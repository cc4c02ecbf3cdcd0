"""Protocol 4, the paper's Fig. 3: how uncertainty runs over the steps of a model."""

from collections.abc import Sequence

import torch

from ..estimators import QUANTITIES
from ..maps import UncertaintyMap
from .report import Cell, Table


def course(maps: Sequence[UncertaintyMap], name: str) -> Table:
    """Mean and standard deviation over images of every quantity at every recorded step."""
    first = maps[0]
    rows: list[tuple[Cell, ...]] = []
    for row, step in enumerate(first.steps):
        cells: list[Cell] = [step, float(first.sigmas[row])]
        for quantity in QUANTITIES:
            means = torch.cat([found.score(quantity, [step]).value for found in maps])
            cells += [float(means.mean()), float(means.std())]
        rows.append(tuple(cells))
    head = ["step", "sigma"]
    for quantity in QUANTITIES:
        head += [quantity, f"{quantity}, spread over images"]
    return Table(name, tuple(head), rows)
