"""Temporal score acceleration: artifacts arise where the score changes abruptly along the run (ASCED, Cao et al. 2025).

Cao, Zhao, Patras & Gong, "Temporal Score Analysis for Understanding and Correcting Diffusion Artifacts", CVPR 2025, arXiv
2503.16218. The noise prediction stands for the score, whose scale it has at every noise level:

    A = Σ_t |ε_{t+1} - 2·ε_t + ε_{t-1}|,  per element

Chosen here: all steps count alike, whereas the paper weights and thresholds them for its own schedule.
"""

from torch import Tensor

from .baseline import Baseline

BASELINE = Baseline(
    name="score_acceleration",
    label="Score acceleration",
    meaning="How abruptly the predicted noise changes from step to step (ASCED). High means unsure. Costs nothing.",
    high_is_sure=False,
    switched=True,
    measured_by="turn score_acceleration on in Uncertainty Baselines",
)


def acceleration(before: Tensor, now: Tensor, after: Tensor) -> Tensor:
    """``|ε_{t+1} - 2·ε_t + ε_{t-1}|`` of each element, for three consecutive noise predictions of one shape."""
    return (after - 2 * now + before).abs()
