"""Reliability of guidance gradients, and how close forward-only gradients come to exact ones.

``python -m benchmarks.gradients reliability forward_only`` measures on both trained models. Reliability is the cosine between
gradients of independent probes. Accuracy is the cosine with the gradient of many probes. Each is computed over all elements, and
over those that guidance would change: the ones above the 95th percentile of the score variance.
"""

import time
from collections.abc import Callable
from itertools import combinations
from statistics import fmean, median

import torch
from torch import Tensor

from uncertainty.estimators import ESTIMATORS
from uncertainty.gradients import average_gradient, exact_gradient, forward_only_gradient
from uncertainty.guidance import uncertain_elements
from uncertainty.probes import Probes
from uncertainty.smoothing import as_images, nonlocal_means, radius_for

from . import results, situations

STEPS = (15, 30, 45, 46, 47, 48)
WINDOW = STEPS[2:]
IMAGES = 3
DRAWS = 4
SAMPLES = 5
REFERENCE = 80
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
DIFFERENCE_STEPS = (0.03, 0.1, 0.3, 1.0)


def cosine(one: Tensor, other: Tensor, chosen: Tensor | None = None) -> float:
    """Cosine of two gradients over the chosen elements."""
    a, b = (g if chosen is None else g * chosen for g in (one, other))
    return float((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-30))


def antithetic(situation: situations.Situation, seed: int) -> Probes:
    """Probes in two pairs n and -n: one model call less than with five probes."""
    half = situation.noise((SAMPLES - 1) // 2, 1, seed=seed)
    return situation.probes(torch.cat([half, -half]))


def smoothed(gradient: Tensor, situation: situations.Situation) -> Tensor:
    """A gradient, smoothed along the image like the maps."""
    image = situation.noising.denoised(situation.x, situation.center)
    image = (image - image.mean((2, 3), keepdim=True)) / image.std() / image.shape[1] ** 0.5
    return nonlocal_means(as_images(gradient), image / 0.5, radius_for(*image.shape[-2:]))


DRAWN: dict[str, Callable[[situations.Situation, int], Probes]] = {
    "paper": lambda situation, seed: situation.probes(situation.noise(SAMPLES, 1, seed=seed)),
    "antithetic pairs (M = 4)": antithetic,
    "orthogonal probes": lambda situation, seed: situation.orthogonal_probes(SAMPLES, 1, seed=seed),
}


def reliability(model: str) -> list[dict]:
    """Cosines of every candidate at every step of every image."""
    network, clip, shape = situations.load(model)
    rows = []
    for visited in situations.visit(network, clip, shape, IMAGES, STEPS):
        gradients: dict[tuple[str, int], list[Tensor]] = {}
        for situation in visited:
            many = situation.probes(situation.noise(REFERENCE, 1, seed=99))
            truth = exact_gradient(situation.score, many)
            chosen = uncertain_elements(ESTIMATORS["filtered"].maps(many, None)["score_variance"], 95)
            for name, draw in DRAWN.items():
                drawn = [exact_gradient(situation.score, draw(situation, seed)) for seed in range(DRAWS)]
                gradients[name, situation.step] = drawn
            gradients["orthogonal, smoothed", situation.step] = [
                smoothed(g, situation) for g in gradients["orthogonal probes", situation.step]
            ]
            if situation.step in WINDOW:
                averaged = gradients["orthogonal probes", WINDOW[0]]
                for step in WINDOW[1 : WINDOW.index(situation.step) + 1]:
                    latest = gradients["orthogonal probes", step]
                    averaged = [average_gradient(*pair) for pair in zip(averaged, latest, strict=True)]
                gradients["filtered: orthogonal, averaged over the window", situation.step] = averaged
            for (name, step), drawn in gradients.items():
                if step != situation.step:
                    continue
                pairs = list(combinations(drawn, 2))
                rows.append({
                    "model": model, "sigma": situation.sigma.item(), "step": step, "estimator": name,
                    "reliability": fmean(cosine(a, b) for a, b in pairs),
                    "reliability_chosen": fmean(cosine(a, b, chosen) for a, b in pairs),
                    "accuracy": fmean(cosine(g, truth) for g in drawn),
                    "accuracy_chosen": fmean(cosine(g, truth, chosen) for g in drawn),
                })  # fmt: skip
        print(f"{model}: {situation.prompt}", flush=True)
    return rows


def forward_only(model: str) -> list[dict]:
    """Forward-only gradients with weights in three precisions, against the exact fp32 gradient of the same probes."""
    networks = {name: situations.load(model, dtype)[0] for name, dtype in DTYPES.items()}
    _, clip, shape = situations.load(model)
    rows = []
    for visited in situations.visit(networks["fp32"], clip, shape, IMAGES, (15, 30, 45, 48)):
        for situation in visited:
            probes = situation.orthogonal_probes(SAMPLES, 1, seed=0)
            began = time.perf_counter()
            exact = exact_gradient(situation.score, probes)
            exact_seconds = time.perf_counter() - began
            for name, network in networks.items():
                same = situations.situation(network, clip, situation.prompt, situation.step, situation.x, situation.sigma)
                rough = same.orthogonal_probes(SAMPLES, 1, seed=0)
                for step in (None, *DIFFERENCE_STEPS):
                    began = time.perf_counter()
                    gradient = (
                        exact_gradient(same.score, rough)
                        if step is None
                        else forward_only_gradient(same.score, rough, 1, step=step)
                    )
                    seconds = time.perf_counter() - began
                    rows.append({
                        "model": model, "sigma": situation.sigma.item(), "weights": name, "h": step,
                        "seconds": seconds / exact_seconds, "cosine": cosine(gradient, exact),
                        "norm": float(gradient.norm() / exact.norm()),
                    })  # fmt: skip
        print(f"{model}: {situation.prompt}", flush=True)
    return rows


def reliability_table(measured: list[dict]) -> str:
    """The table in Markdown."""
    head = ["model", "σ", "estimator", "reliability", "where guided", "accuracy", "where guided"]
    lines = []
    for key in dict.fromkeys((row["model"], row["step"], row["estimator"]) for row in measured):
        rows = [row for row in measured if (row["model"], row["step"], row["estimator"]) == key]
        values = [
            f"{fmean(row[n] for row in rows):.2f}" for n in ("reliability", "reliability_chosen", "accuracy", "accuracy_chosen")
        ]
        lines.append([key[0], f"{rows[0]['sigma']:.2f}", key[2], *values])
    return results.markdown(head, lines)


def forward_only_table(measured: list[dict]) -> str:
    """The table in Markdown."""
    head = ["model", "σ", "weights", "gradient", "cosine with exact fp32", "norm ratio", "time / exact"]
    lines = []
    for key in dict.fromkeys((row["model"], f"{row['sigma']:.2f}", row["weights"], row["h"]) for row in measured):
        rows = [r for r in measured if (r["model"], f"{r['sigma']:.2f}", r["weights"], r["h"]) == key]
        gradient = "exact" if key[3] is None else f"forward-only, h = {key[3]}"
        values = [f"{f(row[name] for row in rows):.2f}" for f, name in ((fmean, "cosine"), (fmean, "norm"), (median, "seconds"))]
        lines.append([*key[:3], gradient, *values])
    return results.markdown(head, lines)


PARTS = {"reliability": (reliability, reliability_table), "forward_only": (forward_only, forward_only_table)}


def main() -> None:
    """Command line."""
    parts, only_table = results.arguments(__doc__, list(PARTS))
    for part in parts:
        measure, table = PARTS[part]
        name = f"gradient_{part}"
        if not only_table:
            began = time.monotonic()
            with torch.no_grad():
                rows = [row for model in situations.MODELS for row in measure(model)]
            results.write(name, rows, time.monotonic() - began)
        print(results.heading(name))
        results.write_table(name, table(results.read(name)))


if __name__ == "__main__":
    main()
