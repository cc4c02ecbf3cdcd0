"""Accuracy of maps from five probes: every estimator against an independent reference, and its equivalent M.

``python -m benchmarks.estimator pixel`` (or latent) measures and writes ``results/estimator_<model>.json``; with ``--table`` it
only prints the last results. Accuracy is the correlation of the channels' mean with the reference over the pixels of an image,
divided by the square root of the reference's own reliability (two halves; Spearman-Brown), so that a perfect map has accuracy 1.

The equivalent M of an accuracy ρ is the M at which the plain variance reaches ρ on average over the images. The plain variance
has ρ² = S/(S + N/(M - 1)), where S is the variance of the true map over the pixels and N its noise. Both are measured.
"""

import math
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import fmean, stdev

import torch
from scipy.stats import spearmanr
from torch import Tensor

from uncertainty.estimators import ESTIMATORS
from uncertainty.probes import Probes
from uncertainty.quantities import PROBED
from uncertainty.smoothing import as_images, nonlocal_means, radius_for

from . import results, situations

IMAGES = 16
STEPS = (15, 30, 45, 48)
REFERENCE = 1024
DRAWS = 8
SAMPLES = 5
PLAIN = (20, 80)


def estimated(probes: Probes, estimator: str) -> dict[str, Tensor]:
    """The maps of every quantity by an estimator."""
    return ESTIMATORS[estimator].maps(probes, None)


def image_only(probes: Probes) -> dict[str, Tensor]:
    """The control variate, smoothed along the image only: without a pilot map and without shrinkage."""
    denoised = probes.noising.denoised(probes.perturbed[0], probes.noise[0])
    axes = (1, 2, 3)
    image = (denoised - denoised.mean(axes, keepdim=True)) / denoised.std(axes, keepdim=True) / denoised.shape[1] ** 0.5
    radius = radius_for(*image.shape[-2:])
    return {n: nonlocal_means(as_images(v), image / 0.5, radius) for n, v in estimated(probes, "control_variate").items()}


def blurred(probes: Probes) -> dict[str, Tensor]:
    """The control variate with a 3x3 box filter, which ignores the image."""
    blur = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    return {name: blur(value) for name, value in estimated(probes, "control_variate").items()}


CANDIDATES: dict[str, tuple[Callable[[Probes], dict[str, Tensor]], bool]] = {
    "paper": (lambda probes: estimated(probes, "paper"), False),
    "centered": (lambda probes: estimated(probes, "centered"), False),
    "control variate": (lambda probes: estimated(probes, "control_variate"), False),
    "control variate, orthogonal probes": (lambda probes: estimated(probes, "control_variate"), True),
    "box 3x3, orthogonal probes": (blurred, True),
    "along the image, orthogonal probes": (image_only, True),
    "filtered, independent probes": (lambda probes: estimated(probes, "filtered"), False),
    "filtered": (lambda probes: estimated(probes, "filtered"), True),
}


def reference(situation: situations.Situation) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The reference: the control variate over many probes, (C, h, w) by quantity, and the reliability of its channels' mean."""
    halves: dict[str, list[Tensor]] = {name: [] for name in PROBED}
    for half in range(2):
        # In independent blocks, because the mean of unbiased estimates is unbiased.
        blocks: dict[str, Tensor] = {name: torch.zeros(()) for name in PROBED}
        size, count = 64, REFERENCE // 128
        for block in range(count):
            probes = situation.probes(situation.noise(size, 1, seed=1000 + 100 * half + block))
            for name, value in estimated(probes, "control_variate").items():
                blocks[name] = blocks[name] + value[0] / count
        for name in PROBED:
            halves[name].append(blocks[name])
    maps = {name: torch.stack(pair).mean(0) for name, pair in halves.items()}
    agreement = {name: correlation(*(half.mean(0)[None] for half in pair)).item() for name, pair in halves.items()}
    return maps, {name: 2 * max(r, 0.01) / (1 + max(r, 0.01)) for name, r in agreement.items()}


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Correlation over the elements of each of N maps (N, ...), shape (N,)."""
    a, b = (values.flatten(1) - values.flatten(1).mean(1, keepdim=True) for values in (one, other))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-30)


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of the highest 5 % of each of N maps (N, ...); 0.026 by chance."""
    count = max(1, one[0].numel() // 20)
    chosen = [torch.zeros_like(m.flatten(1)).scatter(1, m.flatten(1).topk(count).indices, 1).bool() for m in (one, other)]
    return (chosen[0] & chosen[1]).sum(1) / (chosen[0] | chosen[1]).sum(1)


def measure(situation: situations.Situation) -> dict:
    """Results of one situation, by quantity: the noise ratio of the plain variance; accuracy, overlap and scores."""
    truth, reliability = reference(situation)
    plain_noise = situation.noise(SAMPLES, DRAWS, seed=1)
    drawn = {False: situation.probes(plain_noise), True: situation.orthogonal_probes(SAMPLES, DRAWS, seed=2)}
    result: dict = {"sigma": situation.sigma.item(), "prompt": situation.prompt, "quantities": {}}
    maps = {name: function(drawn[special]) for name, (function, special) in CANDIDATES.items()}
    many = situation.probes(situation.noise(max(PLAIN), 1, seed=3))
    for quantity in PROBED:
        target = truth[quantity].mean(0)[None]
        paper = maps["paper"][quantity].mean(1)
        signal = target.var() * reliability[quantity]
        ratio = (SAMPLES - 1) * paper.var(0).mean() / signal
        scale = math.sqrt(reliability[quantity])
        entry: dict = {"reliability": reliability[quantity], "noise_ratio": ratio.item(), "plain": {}, "candidates": {}}
        for samples in PLAIN:
            fewer = many.only(range(samples))
            entry["plain"][samples] = correlation(estimated(fewer, "paper")[quantity].mean(1), target).item() / scale
        for name, by_quantity in maps.items():
            channels = by_quantity[quantity]
            mean = channels.mean(1)
            entry["candidates"][name] = {
                "correlation": (correlation(mean, target.expand_as(mean)) / scale).mean().item(),
                "element": correlation(channels, truth[quantity].expand_as(channels)).mean().item(),
                "overlap": overlap(mean, target.expand_as(mean)).mean().item(),
                "scores": channels.mean((1, 2, 3)).tolist(),
                "bias": (channels.mean() / truth[quantity].mean() - 1).item(),
            }
        result["quantities"][quantity] = entry
    return result


def equivalent(accuracy: float, ratios: list[float]) -> float:
    """The M at which plain variances with these noise ratios reach an accuracy on average."""
    low, high = 1.0, 1e7
    for _ in range(80):
        middle = math.sqrt(low * high)
        reached = fmean(1 / math.sqrt(1 + ratio / max(middle - 1, 1e-9)) for ratio in ratios)
        low, high = (middle, high) if reached < accuracy else (low, middle)
    return low


def rank_agreement(scores: list[list[float]]) -> float:
    """Mean Spearman correlation over images between consecutive draws; scores are (images, draws)."""
    columns = list(zip(*scores, strict=True))
    return fmean(spearmanr(one, other).statistic for one, other in pairwise(columns))


def summarise(results_by_situation: list[dict]) -> list[dict]:
    """One row per noise level, quantity and candidate."""
    rows = []
    for step in STEPS:
        here = [entry for entry in results_by_situation if entry["step"] == step]
        for quantity in PROBED:
            entries = [entry["quantities"][quantity] for entry in here]
            ratios = [entry["noise_ratio"] for entry in entries]
            for samples in PLAIN:
                values = [entry["plain"][str(samples)] for entry in entries]
                rows.append(_row(here, step, quantity, f"paper, M = {samples}", values, ratios))
            for name in CANDIDATES:
                chosen = [entry["candidates"][name] for entry in entries]
                row = _row(here, step, quantity, name, [c["correlation"] for c in chosen], ratios)
                row |= {
                    "element": fmean(c["element"] for c in chosen),
                    "overlap": fmean(c["overlap"] for c in chosen),
                    "bias": fmean(c["bias"] for c in chosen),
                    "ranks": rank_agreement([c["scores"] for c in chosen]),
                }
                rows.append(row)
    return rows


def _row(here: list[dict], step: int, quantity: str, name: str, values: list[float], ratios: list[float]) -> dict:
    accuracy = fmean(values)
    return {
        "step": step,
        "sigma": fmean(entry["sigma"] for entry in here),
        "quantity": quantity,
        "estimator": name,
        "correlation": accuracy,
        "spread": stdev(values),
        "equivalent": equivalent(accuracy, ratios),
    }


def table(rows: list[dict]) -> str:
    """The table in Markdown."""
    head = [
        "σ",
        "quantity",
        "estimator",
        "correlation (± spread)",
        "equivalent M",
        "per element",
        "top-5 % overlap",
        "bias of the mean",
        "rank agreement",
    ]
    lines = []
    for row in rows:
        rest = [f"{row[key]:.2f}" if key in row else "" for key in ("element", "overlap")]
        rest.append(f"{row['bias']:+.1%}" if "bias" in row else "")
        ranks = f"{row['ranks']:.3f}" if "ranks" in row else ""
        lines.append(
            [f"{row['sigma']:.2f}", row["quantity"], row["estimator"], f"{row['correlation']:.3f} ± {row['spread']:.3f}",
             f"{row['equivalent']:.0f}", *rest, ranks]
        )  # fmt: skip
    return results.markdown(head, lines)


def main() -> None:
    """Command line."""
    models, only_table = results.arguments(__doc__, situations.MODELS)
    for model in models:
        name = f"estimator_{model}"
        if not only_table:
            began, measured = time.monotonic(), []
            with torch.inference_mode():
                network, clip, shape = situations.load(model)
                for visited in situations.visit(network, clip, shape, IMAGES, STEPS):
                    measured += [measure(situation) | {"step": situation.step} for situation in visited]
                    print(f"{model}: {len(measured)} of {IMAGES * len(STEPS)}, {time.monotonic() - began:.0f} s", flush=True)
            results.write(name, measured, time.monotonic() - began)
        print(results.heading(name))
        rows = summarise(results.read(name))
        results.write_table(name, table(rows))
        draw(rows, name)


def draw(rows: list[dict], name: str) -> None:
    """Plot accuracy by noise level, one panel per quantity."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), sharey=True, layout="constrained")
    shown = {
        "paper": "C7",
        "paper, M = 80": "C1",
        "control variate": "C0",
        "filtered, independent probes": "C2",
        "filtered": "C3",
    }
    for axis, quantity in zip(axes, PROBED, strict=True):
        for estimator, colour in shown.items():
            line = [row for row in rows if row["quantity"] == quantity and row["estimator"] == estimator]
            levels = [row["sigma"] for row in line]
            means, spreads = ([row[key] for row in line] for key in ("correlation", "spread"))
            label = estimator if "M" in estimator else f"{estimator}, M = {SAMPLES}"
            axis.errorbar(levels, means, spreads, color=colour, capsize=2, marker="o", ms=4, label=label)
        axis.set(title=quantity, xscale="log", xlabel="noise level σ", ylim=(0, 1.02))
        axis.set_xticks(levels, [f"{level:.2f}" for level in levels])
        axis.minorticks_off()
        axis.invert_xaxis()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("correlation with the limit")
    axes[2].legend(fontsize=8, loc="lower right")
    results.write_figure(name, figure)


if __name__ == "__main__":
    main()
