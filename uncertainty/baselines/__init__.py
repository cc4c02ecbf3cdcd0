"""Other ways to score an image out of its own sampling, to compare with; each is measured beside the map in the same run."""

BASELINES = ("paper_score", "mc_dropout", "bayesdiff", "cfg_rejection")

# What measures a score that a map lacks.
MEASURED_BY = {
    "paper_score": "switch paper_score on in Uncertainty Baselines",
    "mc_dropout": "switch mc_dropout on in Uncertainty Baselines",
    "bayesdiff": "connect Fit Laplace to Uncertainty Baselines",
    "cfg_rejection": "switch cfg_rejection on in Uncertainty Baselines",
}
