"""Sparsification: does the error of the rest fall when the most uncertain pixels are left out (Poggi et al. 2020, CVPR).

The curve is the root mean square error of the pixels that remain after leaving out the most uncertain 0, 1/n, … of them (pixels
as uncertain as the last that stays, stay), and 0 after all of them. The oracle leaves out the largest errors first. Areas are by
the trapezoid rule over the part left out, not normalised: AUSE is that between the two curves, AURG that between no sorting at
all, the error of all pixels, and the curve.
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
    truth, guess = (np.asarray(values, np.float64) for values in (ground_truth, prediction))
    unsure = np.asarray(uncertainty)
    if unsure.dtype != np.float32:
        unsure = unsure.astype(np.float64, copy=False)
    for name, values in (("ground_truth", truth), ("prediction", guess), ("uncertainty", unsure)):
        if values.shape != truth.shape or values.size == 0:
            raise ValueError(f"{name} must be of ground_truth's shape {truth.shape} and not empty, got {values.shape}.")
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
    # The error is its own best guide; sorting the squares sorts by it too.
    squares.sort()
    limits = _percentiles(lambda places: np.sqrt(squares[places]), squares.size, intervals)
    return Sparsification(curve, _curve(squares, np.searchsorted(squares, np.square(limits), "right")))


def _ascending(values: NDArray[np.floating]) -> Places:
    """Where the values lie in ascending order. Single precision, as maps are, is sorted as integers that hold value and place."""
    if values.dtype != np.float32 or values.size > 2**32:
        return np.argsort(values)
    bits = (values + np.float32(0)).view(np.uint32)  # the sum makes -0 equal to 0
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))  # as integers in the order of the values
    packed = ordered.astype(np.uint64) << np.uint64(32) | np.arange(values.size, dtype=np.uint64)
    packed.sort()
    places: Places = packed.astype(np.uint32).astype(np.int64)
    return places


def _percentiles(value: Callable[[Places], Array], count: int, intervals: int) -> Array:
    """The values up to which elements are kept: the percentiles 100, 100 - 100/n, … of ``count`` ascending ones."""
    # Linear between order statistics and rounded as numpy's percentile of the negated values, which would sort again.
    places = (count - 1) * (100 / intervals * np.arange(intervals) / 100)
    below = places.astype(np.int64)
    here, next_ = (value(count - 1 - np.minimum(below + step, count - 1)) for step in (0, 1))
    part = places - below
    return np.where(part < 0.5, here + (next_ - here) * part, next_ - (next_ - here) * (1 - part))


def _curve(squares: Array, kept: Places) -> Array:
    """Root mean square of the first 100 %, 100 - 100/n %, … of squared errors, surest first; 0 of none."""
    edges = [0, *kept[::-1].tolist()]
    parts = [squares[start:end].sum() for start, end in pairwise(edges)]
    return np.concatenate([np.sqrt(np.cumsum(parts)[::-1] / kept), [0.0]])


def _area(curve: Array) -> float:
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))
