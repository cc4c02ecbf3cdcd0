"""The one value that travels between nodes: uncertainty per recorded step, image and element."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .baselines import BASELINES, MEASURED_BY
from .choices import check_choice
from .estimators import QUANTITIES

DEFAULT_QUANTITY = "denoised_variance"

# The first two fall as the posterior variance rises, the third grows with density; of all others, high means unsure.
SURE_WHEN_HIGH = ("score_variance", "paper_score", "cfg_rejection")
SCORES = (*QUANTITIES, *BASELINES)


class Score(NamedTuple):
    """One number an image, with its Monte-Carlo standard error; both shape (B,)."""

    value: Tensor
    standard_error: Tensor


def finite(value: Tensor) -> float | None:
    """One number for JSON and SQL, which know no NaN."""
    return float(value) if bool(torch.isfinite(value)) else None


@dataclass(frozen=True, eq=False)
class UncertaintyMap:
    """Uncertainty of a batch over the recorded steps. Immutable.

    Attributes:
        quantities: by name, float32 CPU tensors (S, B, C, *spatial).
        standard_errors: by name, standard error of the mean over elements, (S, B).
        steps: the S recorded steps, zero-based, in sampling order.
        total_steps: length of the schedule.
        sigmas: noise levels of the recorded steps, (S,).
        mask: where sampling was allowed to change the image, (B, 1, *spatial), or None.
        settings: what it takes to reproduce the map, JSON-able.
        baselines: other scores of the same images by name, as far as they were measured.
    """

    quantities: Mapping[str, Tensor]
    standard_errors: Mapping[str, Tensor]
    steps: tuple[int, ...]
    total_steps: int
    sigmas: Tensor
    mask: Tensor | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    baselines: Mapping[str, Score] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze the mappings and check that the parts fit together.

        Raises:
            ValueError: a part is missing, or shapes or steps disagree.
        """
        for name in ("quantities", "standard_errors", "settings", "baselines"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        missing = [name for name in QUANTITIES if name not in self.quantities]
        if missing:
            raise ValueError(f"the map lacks {', '.join(missing)}.")
        shapes = {name: tuple(q.shape) for name, q in self.quantities.items()}
        if len(set(shapes.values())) != 1 or self.values.shape[0] != len(self.steps):
            raise ValueError(f"the map's quantities must all have shape (S={len(self.steps)}, B, C, ...), got {shapes}.")
        steps, total = self.steps, self.total_steps
        if not (steps and all(type(step) is int for step in (*steps, total)) and 0 <= min(steps) <= max(steps) < total):
            raise ValueError(f"the map's steps must be numbers from 0 to total_steps, got {steps} of {total}.")
        recorded, images, _, *spatial = self.values.shape
        expected: dict[str, tuple[Tensor | None, tuple[int, ...]]] = {
            **{f"standard error of {name}": (self.standard_errors.get(name), (recorded, images)) for name in QUANTITIES},
            "sigmas": (self.sigmas, (recorded,)),
            **{
                f"{name} of {kind}": (part, (images,))
                for kind, score in self.baselines.items()
                for name, part in score._asdict().items()
            },
        }
        if self.mask is not None:
            expected["mask"] = self.mask, (images, 1, *spatial)
        for name, (tensor, shape) in expected.items():
            if tensor is None or tuple(tensor.shape) != shape:
                found = None if tensor is None else tuple(tensor.shape)
                raise ValueError(f"the map's {name} must have shape {shape}, got {found}.")

    @property
    def values(self) -> Tensor:
        """The paper's map, ``score_variance``, (S, B, C, *spatial)."""
        return self.quantities["score_variance"]

    @property
    def images(self) -> int:
        """Number of images B."""
        return self.values.shape[1]

    def quantity(self, name: str) -> Tensor:
        """One quantity, (S, B, C, *spatial).

        Raises:
            ValueError: no such quantity.
        """
        check_choice("quantity", name, self.quantities)
        return self.quantities[name]

    def rows(self, steps: Sequence[int] | None) -> list[int]:
        """Where the given steps lie in the first axis; all of them if None.

        Raises:
            ValueError: a step was not recorded.
        """
        if steps is None:
            return list(range(len(self.steps)))
        missing = [step for step in steps if step not in self.steps]
        if missing or not steps:
            raise ValueError(f"steps must be among the recorded {list(self.steps)}, got {list(steps)}.")
        return [self.steps.index(step) for step in steps]

    def score(self, quantity: str = DEFAULT_QUANTITY, steps: Sequence[int] | None = None) -> Score:
        """Mean over the elements (inside the mask), summed over the recorded or the given steps; or the score of a baseline.

        Raises:
            ValueError: no such quantity, a baseline that was not measured or has no steps, or a step that was not recorded.
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
            raise ValueError(f"{name} was not measured with this map: {MEASURED_BY[name]}.")
        if steps is not None:
            raise ValueError(f"{name} is one number an image, it has no single steps: leave the window at 0 to 1.")
        return self.baselines[name]

    def select(self, images: Sequence[int]) -> "UncertaintyMap":
        """The map of some of the images, in the given order."""
        chosen = torch.as_tensor(list(images), dtype=torch.long)
        return replace(
            self,
            quantities={name: q[:, chosen] for name, q in self.quantities.items()},
            standard_errors={name: e[:, chosen] for name, e in self.standard_errors.items()},
            mask=None if self.mask is None else self.mask[chosen],
            baselines={name: Score(value[chosen], error[chosen]) for name, (value, error) in self.baselines.items()},
        )
