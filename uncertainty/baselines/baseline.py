"""What a baseline declares of itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Baseline:
    """Another way to score an image from its own sampling, measured beside the map in the same run.

    Choices in nodes, columns of batches, entries of files, switches of Uncertainty Baselines and rows of tables derive from it.

    Attributes:
        name: what files, columns and choices call it. Saved workflows hold it: it never changes after a release.
        label: what views call it.
        meaning: what it measures, what a high value means and what it costs, for the user.
        high_is_sure: whether a high value means that the image is likely good.
        switched: whether a switch turns it on; otherwise what it needs is connected.
        measured_by: what the user does to have it measured.
    """

    name: str
    label: str
    meaning: str
    high_is_sure: bool
    switched: bool
    measured_by: str
