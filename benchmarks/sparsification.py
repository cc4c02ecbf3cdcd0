"""Sparsification with one sort against a loop over its intervals: ``python -m benchmarks.sparsification``.

One picture of 512×512×3, 50 intervals, interleaved rounds, medians. The loop is a plain version of published code: at every
interval it computes the percentile of all elements again, selects the remaining elements of truth and prediction, and computes
their error, once by uncertainty and once by the error itself.
"""

import time
from statistics import median, quantiles

import numpy as np

from uncertainty.metrics import sparsification

from . import results

SHAPE, INTERVALS, ROUNDS = (512, 512, 3), 50, 5
NAME = "sparsification"


def loop(truth: np.ndarray, guess: np.ndarray, unsure: np.ndarray) -> tuple[list[float], list[float]]:
    """Curve and oracle curve, point by point."""
    curves = []
    for values in (unsure, np.abs(truth - guess)):
        sure = -values.astype(np.float64)
        points = []
        for interval in range(INTERVALS):
            left = sure >= np.percentile(sure, 100 / INTERVALS * interval)
            points.append(float(np.sqrt(((truth[left] - guess[left]) ** 2).mean())))
        curves.append([*points, 0.0])
    return curves[0], curves[1]


def measure() -> dict[str, list[float]]:
    """Seconds of each round."""
    rng = np.random.default_rng(0)
    truth, guess, unsure = rng.random((3, *SHAPE))
    unsure = unsure.astype(np.float32)  # like maps
    seconds: dict[str, list[float]] = {"loop": [], "one sort": []}
    for _ in range(ROUNDS):
        for name, function in (("loop", loop), ("one sort", sparsification)):
            began = time.perf_counter()
            result = function(truth, guess, unsure)
            seconds[name].append(time.perf_counter() - began)
            curve = result[0] if name == "loop" else result.curve
            if name == "loop":
                expected = curve
        np.testing.assert_allclose(curve, expected, rtol=1e-9)
    return seconds


def main() -> None:
    """Command line."""
    _, only_table = results.arguments(__doc__, [NAME])
    if not only_table:
        began = time.monotonic()
        results.write(NAME, measure(), time.monotonic() - began)
    seconds = results.read(NAME)
    ratios = [slow / fast for slow, fast in zip(seconds["loop"], seconds["one sort"], strict=True)]
    low, _, high = quantiles(ratios)
    line = [f"{median(seconds[name]):.3g} s" for name in ("loop", "one sort")]
    results.write_table(
        NAME,
        results.markdown(
            ["loop over intervals", "one sort", "ratio", "quartiles"],
            [[*line, f"{median(ratios):.0f}", f"{low:.0f} to {high:.0f}"]],
        ),
    )


if __name__ == "__main__":
    main()
