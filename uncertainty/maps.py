"""``UncertaintyMap``, which nodes pass on: uncertainty per recorded step, image and element."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from .baselines import BASELINES
from .choices import check_choice
from .quantities import DEFAULT_QUANTITY, QUANTITIES
from .scores import Score

PAPER_QUANTITY = "score_variance"


@dataclass(frozen=True, eq=False)
class UncertaintyMap:
    """Uncertainty of a batch over the recorded steps. Immutable.

    Attributes:
        quantities: by name, float32 CPU tensors (S, B, C, *spatial). Quantities added in later versions are absent.
        standard_errors: by name, standard error of the mean over elements, (S, B).
        steps: the S recorded steps, zero-based, in sampling order.
        total_steps: length of the schedule.
        sigmas: noise levels of the recorded steps, (S,).
        mask: where sampling was allowed to change the image, (B, 1, *spatial), or None.
        settings: the settings needed to reproduce the map, JSON-serialisable.
        baselines: measured baseline scores of the same images, by name.
        places: index of each image in the batch that it was sampled in; () for 0 to B - 1.
    """

    quantities: Mapping[str, Tensor]
    standard_errors: Mapping[str, Tensor]
    steps: tuple[int, ...]
    total_steps: int
    sigmas: Tensor
    mask: Tensor | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    baselines: Mapping[str, Score] = field(default_factory=dict)
    places: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Freeze the mappings and check that shapes and steps agree.

        Raises:
            ValueError: a part is missing, or shapes or steps disagree.
        """
        for name in ("quantities", "standard_errors", "settings", "baselines"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        self._check_quantities()
        self._check_steps()
        recorded, images, _, *spatial = self.shape
        object.__setattr__(self, "places", tuple(self.places) or tuple(range(images)))
        if len(self.places) != images:
            raise ValueError(f"the map's places must be one index for each of its {images} images, got {len(self.places)}.")
        expected: dict[str, tuple[Tensor | None, tuple[int, ...]]] = {
            f"standard error of {name}": (self.standard_errors.get(name), (recorded, images)) for name in self.quantities
        }
        expected["sigmas"] = self.sigmas, (recorded,)
        for name, score in self.baselines.items():
            expected |= {f"{part} of {name}": (tensor, (images,)) for part, tensor in score._asdict().items()}
        if self.mask is not None:
            expected["mask"] = self.mask, (images, 1, *spatial)
        for name, (tensor, shape) in expected.items():
            if tensor is None or tuple(tensor.shape) != shape:
                actual = None if tensor is None else tuple(tensor.shape)
                raise ValueError(f"the map's {name} must have shape {shape}, got {actual}.")

    def _check_quantities(self) -> None:
        shapes = {name: tuple(values.shape) for name, values in self.quantities.items()}
        if len(set(shapes.values())) != 1 or self.shape[0] != len(self.steps):
            raise ValueError(f"the map's quantities must all have shape (S={len(self.steps)}, B, C, ...), got {shapes}.")

    def _check_steps(self) -> None:
        steps, total = self.steps, self.total_steps
        if not (steps and all(type(step) is int for step in (*steps, total)) and 0 <= min(steps) <= max(steps) < total):
            raise ValueError(f"the map's steps must be integers from 0 to total_steps - 1, got {steps} with total_steps {total}.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of every quantity: (S, B, C, *spatial)."""
        return tuple(next(iter(self.quantities.values())).shape) if self.quantities else (0,)

    @property
    def values(self) -> Tensor:
        """The paper's map, ``score_variance``, (S, B, C, *spatial)."""
        return self.quantity(PAPER_QUANTITY)

    @property
    def images(self) -> int:
        """Number of images B."""
        return self.shape[1]

    def quantity(self, name: str) -> Tensor:
        """One quantity, (S, B, C, *spatial).

        Raises:
            ValueError: the quantity is unknown, or this map was made by a version that did not measure it.
        """
        if name in self.quantities:
            return self.quantities[name]
        check_choice("quantity", name, QUANTITIES)
        raise ValueError(
            f"this map has no {name}: the version that made it did not measure it. Sample again, or choose one of "
            f"{', '.join(self.quantities)}."
        )

    def rows(self, steps: Sequence[int] | None) -> list[int]:
        """Indices of the given steps along the first axis; all indices if None.

        Raises:
            ValueError: a step was not recorded.
        """
        if steps is None:
            return list(range(len(self.steps)))
        missing = [step for step in steps if step not in self._rows]
        if missing or not steps:
            raise ValueError(f"steps must be among the recorded steps {list(self.steps)}, got {list(steps)}.")
        return [self._rows[step] for step in steps]

    @cached_property
    def _rows(self) -> dict[int, int]:
        """The index of each step, so that going through thousands of steps takes linear time."""
        return {step: row for row, step in enumerate(self.steps)}

    def score(self, quantity: str = DEFAULT_QUANTITY, steps: Sequence[int] | None = None) -> Score:
        """Mean over elements (inside the mask), summed over the given steps or all recorded ones; or the score of a baseline.

        Raises:
            ValueError: the quantity is unknown, the baseline was not measured, steps were given for a baseline, or a step was
                not recorded.
        """
        if quantity in BASELINES:
            return self._baseline(quantity, steps)
        values = self.quantity(quantity)
        rows = self.rows(steps)
        chosen = values[rows].flatten(3)
        if self.mask is None:
            means = chosen.flatten(2).mean(2)
        else:
            weights = self.mask.to(chosen).flatten(2)[None].expand_as(chosen)
            means = (chosen * weights).sum((2, 3)) / weights.sum((2, 3))
        error = self.standard_errors[quantity][rows].square().sum(0).sqrt()
        return Score(means.sum(0), error)

    def _baseline(self, name: str, steps: Sequence[int] | None) -> Score:
        if name not in self.baselines:
            raise ValueError(f"{name} was not measured with this map: {BASELINES[name].measured_by}.")
        if steps is not None:
            raise ValueError(f"{name} is one number per image and has no steps: leave the window at 0 to 1.")
        return self.baselines[name]

    def select(self, images: Sequence[int]) -> "UncertaintyMap":
        """The map of the given images, in the given order."""
        chosen = torch.as_tensor(list(images), dtype=torch.long)
        return replace(
            self,
            quantities={name: q[:, chosen] for name, q in self.quantities.items()},
            standard_errors={name: e[:, chosen] for name, e in self.standard_errors.items()},
            mask=None if self.mask is None else self.mask[chosen],
            baselines={name: Score(value[chosen], error[chosen]) for name, (value, error) in self.baselines.items()},
            places=tuple(self.places[image] for image in images),
        )
