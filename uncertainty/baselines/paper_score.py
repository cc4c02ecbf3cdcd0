"""The paper's score with the paper's own estimator: plain variance (Eq. 8) over independent probes, summed over the window."""

from .baseline import Baseline

BASELINE = Baseline(
    name="paper_score",
    label="Paper's score",
    meaning=(
        "The paper's score with the paper's own estimator (plain variance of independent copies), for comparison with "
        "score_variance. High means sure. Costs as much as the map."
    ),
    high_is_sure=True,
    switched=True,
    measured_by="turn paper_score on in Uncertainty Baselines",
)
