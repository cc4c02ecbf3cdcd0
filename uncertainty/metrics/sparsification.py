"""Sparsification: does the error of the remaining pixels fall when the most uncertain are removed (Poggi et al. 2020, CVPR).

The curve is the root mean square error of the pixels that remain after the most uncertain 0, 1/n, 2/n, … have been removed (ties
with the last remaining pixel remain); its last point, with all pixels removed, is 0. The oracle removes the largest errors first.
Areas use the trapezoid rule over the removed fraction and are not normalised. AUSE is the area between the two curves. AURG is
the area between the error of all pixels (no sorting) and the curve.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Places = NDArray[np.int64]

INTERVALS = 50


@dataclass(frozen=True)
class Sparsification:
    """Sparsification curves (intervals + 1,) of one image, in units of its values, and their areas."""

    curve: Array
    oracle_curve: Array

    @property
    def ause(self) -> float:
        """Area under the sparsification error: 0 if uncertainty sorts pixels exactly as the error does; lower is better."""
        return _area(self.curve) - _area(self.oracle_curve)

    @property
    def aurg(self) -> float:
        """Area under the random gain: above 0 if uncertainty sorts pixels better than chance."""
        return float(self.curve[0]) - _area(self.curve)


def sparsification(
    ground_truth: ArrayLike, prediction: ArrayLike, uncertainty: ArrayLike, intervals: int = INTERVALS
) -> Sparsification:
    """Sparsification of one image.

    Args:
        ground_truth: true values, any shape.
        prediction: predicted values, same shape and range.
        uncertainty: uncertainty of each element, same shape; only its order counts.
        intervals: number of points of the curve minus one.

    Raises:
        ValueError: shapes differ, values are not finite, arrays are empty, or intervals is below 1.

    Example:
        >>> sparsification([0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.1, 0.2, 0.3]).ause
        0.0
    """
    truth, guess = (np.asarray(values, np.float64) for values in (ground_truth, prediction))
    unsure = np.asarray(uncertainty)
    if unsure.dtype != np.float32:
        unsure = unsure.astype(np.float64, copy=False)
    for name, values in (("ground_truth", truth), ("prediction", guess), ("uncertainty", unsure)):
        if values.shape != truth.shape or values.size == 0:
            raise ValueError(f"{name} must have ground_truth's shape {truth.shape} and not be empty, got {values.shape}.")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite: {int((~np.isfinite(values)).sum())} of {values.size} elements are not.")
    if intervals < 1:
        raise ValueError(f"intervals must be at least 1, got {intervals}.")
    squares = np.subtract(truth, guess).ravel()
    np.square(squares, out=squares)
    unsure = unsure.ravel()
    order = _ascending(unsure)
    limits = _percentiles(lambda places: unsure[order[places]].astype(np.float64), unsure.size, intervals)
    curve = _curve(squares[order], np.searchsorted(unsure, limits, "right", order))
    # The oracle sorts by the error itself, which gives the same order as its square.
    squares.sort()
    limits = _percentiles(lambda places: np.sqrt(squares[places]), squares.size, intervals)
    return Sparsification(curve, _curve(squares, np.searchsorted(squares, np.square(limits), "right")))


def _ascending(values: NDArray[np.floating]) -> Places:
    """Indices that sort the values in ascending order. For speed, float32 values and indices are packed into integers."""
    if values.dtype != np.float32 or values.size > 2**32:
        return np.argsort(values)
    bits = (values + np.float32(0)).view(np.uint32)  # the sum makes -0 equal to 0
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))  # integers in the same order as the values
    packed = ordered.astype(np.uint64) << np.uint64(32) | np.arange(values.size, dtype=np.uint64)
    packed.sort()
    places: Places = packed.astype(np.uint32).astype(np.int64)
    return places


def _percentiles(value: Callable[[Places], Array], count: int, intervals: int) -> Array:
    """The values up to which elements are kept: the percentiles 100, 100 - 100/n, … of ``count`` ascending values."""
    # Equals numpy's percentile of the negated values, rounding included, which would sort again.
    places = (count - 1) * (100 / intervals * np.arange(intervals) / 100)
    below = places.astype(np.int64)
    here, next_ = (value(count - 1 - np.minimum(below + step, count - 1)) for step in (0, 1))
    part = places - below
    return np.where(part < 0.5, here + (next_ - here) * part, next_ - (next_ - here) * (1 - part))


def _curve(squares: Array, kept: Places) -> Array:
    """Root of the mean of the first 100 %, 100 - 100/n %, … of the squared errors, surest first; the last point is 0."""
    edges = [0, *kept[::-1].tolist()]
    parts = [squares[start:end].sum() for start, end in pairwise(edges)]
    return np.concatenate([np.sqrt(np.cumsum(parts)[::-1] / kept), [0.0]])


def _area(curve: Array) -> float:
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))
