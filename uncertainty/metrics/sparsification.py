"""Sparsification: does the error of the rest fall when the most uncertain pixels are left out (Poggi et al. 2020, CVPR).

The curve is the root mean square error of the pixels that remain after leaving out the most uncertain 0, 1/n, … of them (pixels
as uncertain as the last that stays, stay), and 0 after all of them. The oracle leaves out the largest errors first. Areas are by
the trapezoid rule over the part left out, not normalised: AUSE is that between the two curves, AURG that between no sorting at
all, the error of all pixels, and the curve.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

INTERVALS = 50


@dataclass(frozen=True)
class Sparsification:
    """Curves (intervals + 1,) of one image, in units of its values, and their areas."""

    curve: Array
    oracle_curve: Array

    @property
    def ause(self) -> float:
        """Area under the sparsification error: 0 where uncertainty sorts as the error does, and larger the less it does."""
        return _area(self.curve) - _area(self.oracle_curve)

    @property
    def aurg(self) -> float:
        """Area under the random gain: above 0 where uncertainty sorts better than chance."""
        return float(self.curve[0]) - _area(self.curve)


def sparsification(
    ground_truth: ArrayLike, prediction: ArrayLike, uncertainty: ArrayLike, intervals: int = INTERVALS
) -> Sparsification:
    """Sparsification of one image.

    Args:
        ground_truth: what is true, any shape.
        prediction: what was predicted, the same shape and range of values.
        uncertainty: of each element, the same shape; only its order counts.
        intervals: points of the curve but one.

    Raises:
        ValueError: shapes differ, values are not finite, or there is nothing to leave out.

    Example:
        >>> sparsification([0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.1, 0.2, 0.3]).ause
        0.0
    """
    truth, guess, unsure = (np.asarray(values, np.float64) for values in (ground_truth, prediction, uncertainty))
    for name, values in (("ground_truth", truth), ("prediction", guess), ("uncertainty", unsure)):
        if values.shape != truth.shape or values.size == 0:
            raise ValueError(f"{name} must be of ground_truth's shape {truth.shape} and not empty, got {values.shape}.")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite: {int((~np.isfinite(values)).sum())} of {values.size} elements are not.")
    if intervals < 1:
        raise ValueError(f"intervals must be at least 1, got {intervals}.")
    squares = np.square(truth - guess).ravel()
    sure = -unsure.ravel()
    order = np.argsort(sure)
    # The error is its own best guide: sorting the squares sorts by it too.
    best = np.sort(squares)[::-1]
    return Sparsification(_curve(squares[order], sure[order], intervals), _curve(best, -np.sqrt(best), intervals))


def _curve(squares: Array, sure: Array, intervals: int) -> Array:
    """Root mean square of the elements at least as sure as each percentile of sureness, both in ascending order of it."""
    # Linear between order statistics and rounded as numpy's percentile, which would sort again.
    places = (len(sure) - 1) * (100 / intervals * np.arange(intervals) / 100)
    below = places.astype(np.int64)
    low, high, part = sure[below], sure[np.minimum(below + 1, len(sure) - 1)], places - below
    limits = np.where(part < 0.5, low + (high - low) * part, high - (high - low) * (1 - part))
    first = np.searchsorted(sure, limits, side="left")
    ends = [*first[1:].tolist(), len(sure)]
    parts = [squares[start:end].sum() for start, end in zip(first.tolist(), ends, strict=True)]
    sums = np.cumsum(parts[::-1])[::-1]  # of an element and all that are surer
    return np.concatenate([np.sqrt(sums / (len(sure) - first)), [0.0]])


def _area(curve: Array) -> float:
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))
