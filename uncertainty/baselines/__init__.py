"""Other scores of an image, for comparison. Each baseline is declared once, in its own module, and listed here.

``docs/extending.md`` shows how to add one.
"""

from collections.abc import Mapping
from types import MappingProxyType

from . import bayesdiff, cfg_rejection, mc_dropout, paper_score, prompt_information, score_acceleration
from .baseline import Baseline

BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        baseline.name: baseline
        for baseline in (
            paper_score.BASELINE,
            mc_dropout.BASELINE,
            bayesdiff.BASELINE,
            cfg_rejection.BASELINE,
            score_acceleration.BASELINE,
            prompt_information.BASELINE,
        )
    }
)
"""By name, in the order of choices and columns: add new baselines at the end."""

__all__ = ["BASELINES", "Baseline"]
