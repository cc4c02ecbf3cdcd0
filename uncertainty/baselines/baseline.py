"""The declaration of a baseline."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Baseline:
    """Another score of an image, measured in the same run as the map.

    Choices in nodes, columns of batches, entries of files, switches of Uncertainty Baselines and rows of tables derive from it.

    Attributes:
        name: name in files, columns and choices. Saved workflows contain it, so it never changes after a release.
        label: name in views.
        meaning: what it measures, what a high value means and what it costs, for the user.
        high_is_sure: whether a high value means that the image is likely good.
        switched: whether a switch turns it on; otherwise connecting its input does.
        measured_by: what the user must do to have it measured.
    """

    name: str
    label: str
    meaning: str
    high_is_sure: bool
    switched: bool
    measured_by: str
