"""How a sampling run is measured and guided."""

import math
from dataclasses import dataclass, field

from .baselines import BASELINES
from .baselines.laplace import Laplace
from .choices import check_choice
from .estimators import DEFAULT_ESTIMATOR, ESTIMATORS
from .gradients import GRADIENTS
from .guidance import MASK_SCOPES, MASK_SIDES
from .probes import check_samples
from .recorder import KEEP
from .window import Window

DIRECTIONS = ("ascend", "descend")
SCORE_SOURCES = ("guided", "conditional")
CONTROLS = ("none", "random_direction", "random_mask")


@dataclass(frozen=True)
class Options:
    """Choices few users need.

    Attributes:
        estimator: out of ``ESTIMATORS``.
        gradient: ``exact``, ``forward_only``, or ``auto`` for exact where the model and memory allow it.
        direction: of guidance along the uncertainty gradient, ``ascend`` (the paper) or ``descend``.
        mask_scope: percentile over each ``image`` or each ``channel`` of it.
        mask_side: guide elements above (``high``) or below (``low``) the percentile.
        score_source: whose noise prediction is measured, the ``guided`` one after CFG or the ``conditional`` one alone.
        max_batch: latents that go through the model at once, 0 for what memory allows.
        live_preview: show the current map over the step preview while sampling runs.
        keep_maps: what becomes of the maps of single steps, out of ``KEEP``.
        baselines: other scores to measure beside the map, out of ``BASELINES``.
        laplace: of the model's last layer, for the baseline ``bayesdiff``.
        control: guidance as a control arm of an experiment, out of ``CONTROLS``.
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
    baselines: tuple[str, ...] = ()
    laplace: Laplace | None = None
    control: str = "none"

    def __post_init__(self) -> None:
        """Check every choice; raises ValueError naming the field."""
        choices = {
            "estimator": ESTIMATORS,
            "gradient": GRADIENTS,
            "direction": DIRECTIONS,
            "mask_scope": MASK_SCOPES,
            "mask_side": MASK_SIDES,
            "score_source": SCORE_SOURCES,
            "control": CONTROLS,
            "keep_maps": KEEP,
        }
        for name, allowed in choices.items():
            check_choice(name, getattr(self, name), allowed)
        if self.max_batch < 0:
            raise ValueError(f"max_batch must be 0 or more, got {self.max_batch}.")
        for name in self.baselines:
            check_choice("baselines", name, BASELINES)


@dataclass(frozen=True)
class RunSettings:
    """One run: M probes a step, guidance strength λ, percentile p, window, seed of the probes, and the options."""

    samples: int
    strength: float
    percentile: float
    window: Window
    seed: int
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        """Check the ranges; raises ValueError naming the field."""
        check_samples(self.samples)
        if not math.isfinite(self.strength):
            raise ValueError(f"strength must be a finite number, got {self.strength}.")
        if not 0 <= self.percentile <= 100:
            raise ValueError(f"percentile must lie between 0 and 100, got {self.percentile}.")

    @property
    def signed_strength(self) -> float:
        """λ with the sign of the direction."""
        return self.strength if self.options.direction == "ascend" else -self.strength
