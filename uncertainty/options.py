"""How a sampling run is measured and guided."""

import math
from dataclasses import dataclass, field

from .baselines import BASELINES
from .baselines.laplace import Laplace
from .choices import check_choice
from .estimators import DEFAULT_ESTIMATOR, ESTIMATORS
from .gradients import GRADIENTS, GUIDED_QUANTITIES
from .guidance import MASK_SCOPES, MASK_SIDES
from .plain_numbers import real, whole
from .probes import SEEDS, check_samples
from .recorder import KEEP
from .window import Window

DIRECTIONS = ("ascend", "descend")
SCORE_SOURCES = ("guided", "conditional")
CONTROLS = ("none", "random_direction", "random_mask")


@dataclass(frozen=True)
class Options:
    """Options that few users need.

    Attributes:
        estimator: one of ``ESTIMATORS``.
        gradient: ``exact``, ``forward_only``, or ``auto``: exact if the model and memory allow it, otherwise forward-only.
        direction: direction of guidance along the gradient of the guided quantity, ``ascend`` (the paper) or ``descend``.
        mask_scope: percentile over each ``image`` or over each ``channel`` of an image.
        mask_side: guide elements above (``high``) or below (``low``) the percentile.
        score_source: the noise prediction to measure: ``guided`` (after CFG) or ``conditional`` (with the prompt only).
        max_batch: most latents per call of the model, 0 for as many as fit into memory.
        live_preview: show the current map over the step preview during sampling.
        keep_maps: how the maps of single steps are kept, one of ``KEEP``.
        guided_quantity: the quantity whose gradient guidance follows and whose elements it chooses, one of
            ``GUIDED_QUANTITIES``.
        map_memory: main memory, in units of 2²⁰ bytes, that the maps of single steps may take, and with them the latents that
            wait to be measured; what does not fit is kept on disk. All samplings of a recording share it.
        baselines: other scores to measure along with the map, from ``BASELINES``.
        laplace: Laplace approximation of the model's last layer, for the baseline ``bayesdiff``.
        control: control arm of an experiment, one of ``CONTROLS``.
    """

    estimator: str = DEFAULT_ESTIMATOR
    gradient: str = "auto"
    direction: str = "ascend"
    mask_scope: str = "image"
    mask_side: str = "high"
    score_source: str = "guided"
    max_batch: int = 0
    live_preview: bool = False
    keep_maps: str = "every_step"
    guided_quantity: str = GUIDED_QUANTITIES[0]
    map_memory: int = 2048
    baselines: tuple[str, ...] = ()
    laplace: Laplace | None = None
    control: str = "none"

    def __post_init__(self) -> None:
        """Check every field; raise ValueError naming the field."""
        choices = {
            "estimator": ESTIMATORS,
            "gradient": GRADIENTS,
            "direction": DIRECTIONS,
            "mask_scope": MASK_SCOPES,
            "mask_side": MASK_SIDES,
            "score_source": SCORE_SOURCES,
            "control": CONTROLS,
            "keep_maps": KEEP,
            "guided_quantity": GUIDED_QUANTITIES,
        }
        for name, allowed in choices.items():
            check_choice(name, getattr(self, name), allowed)
        object.__setattr__(self, "live_preview", bool(self.live_preview))
        for name in ("max_batch", "map_memory"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}.")
        for name in self.baselines:
            check_choice("baselines", name, BASELINES)

    @property
    def memory(self) -> int:
        """Bytes of main memory for maps and waiting latents."""
        return 0 if self.keep_maps == "on_disk" else self.map_memory << 20


@dataclass(frozen=True)
class RunSettings:
    """Settings of one run: M probes per step, guidance strength λ, percentile p, window, seed of the probes, and options.

    With M = 0 nothing is probed: only what costs no evaluation is recorded.
    """

    samples: int
    strength: float
    percentile: float
    window: Window
    seed: int
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        """Make all numbers Python's own and check the ranges; raise ValueError naming the field."""
        object.__setattr__(self, "samples", whole("samples", self.samples))
        object.__setattr__(self, "strength", real("strength", self.strength))
        object.__setattr__(self, "percentile", real("percentile", self.percentile))
        # torch takes negative seeds and counts them from 2⁶⁴ down.
        object.__setattr__(self, "seed", whole("seed", self.seed) % SEEDS)
        if self.samples != 0:
            check_samples(self.samples)
        elif self.strength != 0:
            raise ValueError(f"strength must be 0 if samples is 0, got {self.strength}: guidance needs probes.")
        if not math.isfinite(self.strength):
            raise ValueError(f"strength must be a finite number, got {self.strength}.")
        if not 0 <= self.percentile <= 100:
            raise ValueError(f"percentile must be between 0 and 100, got {self.percentile}.")

    @property
    def signed_strength(self) -> float:
        """λ, negative if the direction is ``descend``."""
        return self.strength if self.options.direction == "ascend" else -self.strength
