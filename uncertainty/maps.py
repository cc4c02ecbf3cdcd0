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
from .estimators import mean_over_elements
from .extra_scores import ExtraScore
from .quantities import DEFAULT_QUANTITY, PROBED, QUANTITIES
from .scores import SCORES, Score

PAPER_QUANTITY = "score_variance"


@dataclass(frozen=True, eq=False)
class UncertaintyMap:
    """Uncertainty of a batch over the recorded steps. Immutable.

    Attributes:
        quantities: by name, those that were probed, float32 CPU tensors (S, B, C, *spatial). Quantities added in later versions
            are absent; without probes (S = 0) all are.
        standard_errors: by name, standard error of the mean over elements, (S, B).
        steps: the S recorded steps, zero-based, in sampling order.
        total_steps: length of the schedule.
        sigmas: noise levels of the recorded steps, (S,).
        mask: where sampling was allowed to change the image, (B, 1, *spatial), or None.
        settings: the settings needed to reproduce the map, JSON-serialisable.
        baselines: measured baseline scores of the same images, by name.
        of_run: maps that belong to the whole run instead of a step, of quantities and baselines by name, (B, C, *spatial).
        places: index of each image in the batch that it was sampled in; () for 0 to B - 1.
        extra_scores: scores of the same images by other programs, by name.
        stars: those that a person gave each image, 0 to 5; () for none.
        other_parts: the maps of what was sampled together with these images, such as the sound of a video; () for nothing. Each,
            and this one, then has its number among the ``settings``, as ``part``.
    """

    quantities: Mapping[str, Tensor]
    standard_errors: Mapping[str, Tensor]
    steps: tuple[int, ...]
    total_steps: int
    sigmas: Tensor
    mask: Tensor | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    baselines: Mapping[str, Score] = field(default_factory=dict)
    of_run: Mapping[str, Tensor] = field(default_factory=dict)
    places: tuple[int, ...] = ()
    extra_scores: Mapping[str, ExtraScore] = field(default_factory=dict)
    stars: tuple[int, ...] = ()
    other_parts: tuple["UncertaintyMap", ...] = ()

    def __post_init__(self) -> None:
        """Freeze the mappings and check that shapes and steps agree.

        Raises:
            ValueError: a part is missing, or shapes or steps disagree.
        """
        for name in ("quantities", "standard_errors", "settings", "baselines", "of_run", "extra_scores"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        self._check_quantities()
        self._check_steps()
        recorded, images, *element = self.shape
        spatial = element[1:]
        object.__setattr__(self, "places", tuple(self.places) or tuple(range(images)))
        object.__setattr__(self, "stars", tuple(self.stars) or (0,) * images)
        for name in ("places", "stars"):
            count = len(getattr(self, name))
            if count != images:
                raise ValueError(f"the map's {name} must be one number for each of its {images} images, got {count}.")
        expected: dict[str, tuple[Tensor | None, tuple[int, ...]]] = {
            f"standard error of {name}": (self.standard_errors.get(name), (recorded, images)) for name in self.quantities
        }
        expected["sigmas"] = self.sigmas, (recorded,)
        for name, score in self.baselines.items():
            expected |= {f"{part} of {name}": (tensor, (images,)) for part, tensor in score._asdict().items()}
        expected |= {name: (values, (images, *element)) for name, values in self.of_run.items()}
        expected |= {name: (score.values, (images,)) for name, score in self.extra_scores.items()}
        if self.mask is not None:
            expected["mask"] = self.mask, (images, 1, *spatial)
        for name, (tensor, shape) in expected.items():
            if tensor is None or tuple(tensor.shape) != shape:
                actual = None if tensor is None else tuple(tensor.shape)
                raise ValueError(f"the map's {name} must have shape {shape}, got {actual}.")
        for other in self.other_parts:
            if (other.steps, other.images) != (self.steps, images) or other.other_parts:
                raise ValueError(
                    f"the map's other_parts must have its {images} images, its steps {list(self.steps)} and no parts of their "
                    f"own, got {other.images} images, steps {list(other.steps)} and {len(other.other_parts)} parts."
                )

    def _check_quantities(self) -> None:
        shapes = {name: tuple(values.shape) for name, values in self.quantities.items()}
        if not shapes and not self.of_run:
            raise ValueError("the map must have a quantity, but nothing was measured.")
        if len(set(shapes.values())) > 1 or self.shape[0] != len(self.steps):
            raise ValueError(f"the map's quantities must all have shape (S={len(self.steps)}, B, C, ...), got {shapes}.")

    def _check_steps(self) -> None:
        steps, total = self.steps, self.total_steps
        whole = all(type(step) is int for step in (*steps, total))
        if not (whole and total > 0 and all(0 <= step < total for step in steps)):
            raise ValueError(f"the map's steps must be integers from 0 to total_steps - 1, got {steps} with total_steps {total}.")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of every probed quantity: (S, B, C, *spatial)."""
        if self.quantities:
            return tuple(next(iter(self.quantities.values())).shape)
        return (0, *next(iter(self.of_run.values())).shape)

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities and baselines that this map has a map of, in the order of choices."""
        return tuple(name for name in SCORES if name in self.quantities or name in self.of_run)

    @property
    def values(self) -> Tensor:
        """The paper's map, ``score_variance``, (S, B, C, *spatial)."""
        return self.quantity(PAPER_QUANTITY)

    @property
    def images(self) -> int:
        """Number of images B."""
        return self.shape[1]

    @property
    def default(self) -> str:
        """The quantity to use where none is asked for."""
        return DEFAULT_QUANTITY if DEFAULT_QUANTITY in self.names else self.names[0]

    def quantity(self, name: str) -> Tensor:
        """One probed quantity, (S, B, C, *spatial).

        Raises:
            ValueError: the quantity is unknown, or this map does not have it.
        """
        if name not in self.quantities:
            raise self._absent(name)
        return self.quantities[name]

    def summed(self, name: str, steps: Sequence[int] | None = None) -> Tensor:
        """A quantity or baseline, summed over the given steps or all recorded ones, or of the whole run: (B, C, *spatial).

        Raises:
            ValueError: the name is unknown, this map does not have it, it belongs to the whole run but steps were given, or a
                step was not recorded.
        """
        if name in self.of_run:
            self._check_whole(name, steps)
            return self.of_run[name]
        return self.quantity(name)[self.rows(steps)].sum(0)

    def _check_whole(self, name: str, steps: Sequence[int] | None) -> None:
        if steps is not None and list(steps) != list(self.steps):
            raise ValueError(
                f"{name} belongs to the whole run and has no steps: show all steps (-1), or leave the window at 0 to 1."
            )

    def _absent(self, name: str) -> ValueError:
        """Why there is no such quantity or baseline, and what to do."""
        check_choice("quantity", name, SCORES)
        there = f"choose one of {', '.join(self.names)}"
        if name in BASELINES:
            return ValueError(f"{name} was not measured with this map: {BASELINES[name].measured_by}, or {there}.")
        if name in PROBED and self.settings.get("samples") == 0:
            return ValueError(f"this map has no {name}, because samples was 0: set samples to 5, or {there}.")
        if name in QUANTITIES and name not in PROBED:
            return ValueError(f"this map has no {name}: its run had too few steps, or another version made it. Or {there}.")
        return ValueError(f"this map has no {name}: the version that made it did not measure it. Sample again, or {there}.")

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
        """Mean over elements (inside the mask), summed over the given steps or all recorded ones, or of the whole run.

        Raises:
            ValueError: as ``summed``.
        """
        if quantity in self.baselines:
            self._check_whole(quantity, steps)
            return self.baselines[quantity]
        if quantity in self.of_run:
            means = mean_over_elements(self.summed(quantity, steps), self.mask)
            return Score(means, torch.zeros_like(means))  # nothing was drawn at random
        values = self.quantity(quantity)
        rows = self.rows(steps)
        means = torch.stack([mean_over_elements(values[row], self.mask) for row in rows])
        error = self.standard_errors[quantity][rows].square().sum(0).sqrt()
        return Score(means.sum(0), error)

    def part(self, number: int) -> "UncertaintyMap":
        """The map of one of the latents that were sampled together, with the stars and extra scores of its images.

        Raises:
            ValueError: there is no such part.
        """
        maps = {each.settings.get("part", place): each for place, each in enumerate(self.parts)}
        if number in maps:
            return maps[number]
        if self.other_parts:
            why = f"between 0 and {len(maps) - 1}, got {number}: this map has {len(maps)} parts."
        elif "part" in self.settings:
            alone = self.settings["part"]
            why = f"{alone}, got {number}: this is the map of part {alone} alone. Connect the UNCERTAINTY of the sampler."
        else:
            why = f"0, got {number}: this map is of one latent. Only those sampled together, such as video with sound, have more."
        raise ValueError(f"part must be {why}")

    @property
    def parts(self) -> list["UncertaintyMap"]:
        """The maps of all latents that were sampled together, each alone, this one first."""
        others = [
            replace(other, places=self.places, stars=self.stars, extra_scores=self.extra_scores) for other in self.other_parts
        ]
        return [replace(self, other_parts=()), *others]

    def select(self, images: Sequence[int]) -> "UncertaintyMap":
        """The map of the given images, in the given order."""
        chosen = torch.as_tensor(list(images), dtype=torch.long)
        return replace(
            self,
            quantities={name: q[:, chosen] for name, q in self.quantities.items()},
            standard_errors={name: e[:, chosen] for name, e in self.standard_errors.items()},
            mask=None if self.mask is None else self.mask[chosen],
            baselines={name: Score(value[chosen], error[chosen]) for name, (value, error) in self.baselines.items()},
            of_run={name: values[chosen] for name, values in self.of_run.items()},
            places=tuple(self.places[image] for image in images),
            stars=tuple(self.stars[image] for image in images),
            extra_scores={name: replace(score, values=score.values[chosen]) for name, score in self.extra_scores.items()},
            other_parts=tuple(other.select(images) for other in self.other_parts),
        )
