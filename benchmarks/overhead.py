"""The cost of measuring and guiding: ``python -m benchmarks.overhead`` times whole samplings, interleaved, in one process.

50 steps of Euler, CFG 3, M = 5, the paper's window 0.90 to 0.98 (steps 45 to 48) unless a way names another, batch 1. Every round
runs every way once. The table shows the medians over the rounds of the ratios to plain KSampler. By the number of network
evaluations (NFE), measuring should cost 70/50 there, and 55/50 at one step. The peer is a plain implementation of the authors'
method: all M probes and their variance in one graph, with one backward pass.
"""

import logging
import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

import comfy.utils
import torch

import nodes as comfy_nodes

from . import results, situations
from .joint_graph import JointGraph
from .pack_modules import pack

ROUNDS = 9
SAMPLES = 5
WINDOW = (0.90, 0.98)
IDEAL = {"measuring, one step (default)": 1 + SAMPLES / 50, "measuring": 1 + 4 * SAMPLES / 50}
IDEAL["measuring, estimator paper"] = IDEAL["measuring"]


def ways() -> dict[str, Callable[[], Any]]:
    """By name, functions that create what is attached to the model for one sampling; None is plain KSampler."""
    hook, options, window = pack("nodes.hook.sampling_hook"), pack("uncertainty.options"), pack("uncertainty.window")

    class Nothing(window.Window):
        """A window without steps, which users cannot set: shows the cost of the hook itself."""

        def steps(self, total: int) -> range:
            return range(0)

    def run(strength: float, kind: type = window.Window, part: tuple[float, float] = WINDOW, **changed: Any) -> Any:
        settings = options.RunSettings(SAMPLES, strength, 95.0, kind(*part), 0, options.Options(**changed))
        return hook.UncertaintyRun(settings, [0], {})

    return {
        "KSampler": lambda: None,
        "empty window": lambda: run(0.0, Nothing),
        "measuring, one step (default)": lambda: run(0.0, part=pack("nodes.sampling.measuring_inputs").EARLY),
        "measuring": lambda: run(0.0),
        "measuring, estimator paper": lambda: run(0.0, estimator="paper"),
        "guided, exact": lambda: run(1.0, gradient="exact"),
        "guided, forward-only": lambda: run(1.0, gradient="forward_only"),
        "guided, joint graph (peer)": lambda: JointGraph(WINDOW, situations.STEPS, SAMPLES),
    }


def measure(model: str) -> dict[str, list[float]]:
    """Seconds of each way in each round."""
    network, clip, shape = situations.load(model)
    positive, negative = situations.encode(clip, "cat face"), situations.encode(clip, "")
    all_ways = ways()

    def sample(way: Callable[[], Any]) -> float:
        attached = way()
        used = network if attached is None else attached.attach(network)
        latent = {"samples": torch.zeros(1, *shape)}
        began = time.perf_counter()
        comfy_nodes.common_ksampler(used, 1, situations.STEPS, situations.CFG, "euler", "normal", positive, negative, latent)
        return time.perf_counter() - began

    seconds: dict[str, list[float]] = {name: [] for name in all_ways}
    for turn in range(ROUNDS + 1):
        for name, way in all_ways.items():
            taken = sample(way)
            if turn > 0:  # the first round is a warm-up
                seconds[name].append(taken)
    return seconds


def table(measured: dict[str, dict[str, list[float]]]) -> str:
    """The table in Markdown."""
    head = ["model", "way", "seconds", "ratio to KSampler", "quartiles", "ratio / NFE-ideal of measuring"]
    lines = []
    for model, seconds in measured.items():
        for name, taken in seconds.items():
            ratios = [one / plain for one, plain in zip(taken, seconds["KSampler"], strict=True)]
            low, _, high = quantiles(ratios, n=4)
            ideal = f"{median(ratios) / IDEAL[name]:.3f}" if name in IDEAL else ""
            lines.append([model, name, f"{median(taken):.2f}", f"{median(ratios):.3f}", f"{low:.3f} to {high:.3f}", ideal])
    return results.markdown(head, lines)


def main() -> None:
    """Command line."""
    models, only_table = results.arguments(__doc__, situations.MODELS)
    if not only_table:
        logging.disable(logging.WARNING)
        comfy.utils.set_progress_bar_enabled(False)
        began = time.monotonic()
        with torch.inference_mode():
            measured = {model: measure(model) for model in models}
        results.write("overhead", measured, time.monotonic() - began)
    print(results.heading("overhead"))
    results.write_table("overhead", table(results.read("overhead")))


if __name__ == "__main__":
    main()
