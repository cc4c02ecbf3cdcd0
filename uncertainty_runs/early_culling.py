"""Early culling: sample the first part of the schedule, measure its last step, and finish only the best images.

For nights when nobody looks. Where a person chooses among the finished images, finish all: a person sees more than any score.
"""

from typing import Any

from uncertainty.scores import bad_end
from uncertainty.window import Window

from .graph import Graph, WorkflowError, is_link
from .node_info import Describe, NodeInfo
from .samplers import in_parts, is_stage

PART = 0.3
QUANTITY = "denoised_variance"
SAMPLES = 5

Inputs = dict[str, Any]

# Ids of added nodes.
SPLIT, FIRST, CHOICE, NO_NOISE = (f"culling {name}" for name in ("sigmas", "first steps", "choice", "no noise"))


def culling_early(graph: Graph, sampler: str, steps: int, best: int, describe: Describe) -> Graph:
    """The graph whose sampler finishes only the best images, chosen after the first part of the schedule.

    Args:
        graph: all nodes.
        sampler: id of the sampler that measures.
        steps: length of its schedule.
        best: how many images are finished.
        describe: asks ComfyUI about a node class.

    Raises:
        WorkflowError: the schedule is too short, or its sampler cannot be split.
        NodeError: ComfyUI lacks a node.
    """
    first = max(1, round(PART * steps))
    if first >= steps:
        raise WorkflowError(f"early culling needs at least 2 steps, but the workflow has {steps}: set more steps.")
    graph = in_parts(graph, sampler, describe)
    node = graph[sampler]
    added, start, rest = _by_steps(node, first) if is_stage(node) else _by_noise_levels(node, first)
    measuring = {"samples": SAMPLES, "strength": 0.0}
    # Only the last step of this part: steps i with start ≤ i/first < end.
    measuring |= {"window_start": (first - 1.5) / first if first > 1 else 0.0, "window_end": 1.0}
    inputs, best_latents = node["inputs"], {"latent_image": [CHOICE, 1]}
    return graph | added | {
        FIRST: {"class_type": node["class_type"], "inputs": inputs | start | measuring},
        CHOICE: {"class_type": "UncertaintyScoreFilter", "inputs": _choice(best, describe(node["class_type"]), describe)},
        sampler: {**node, "inputs": inputs | rest | best_latents | _in_the_rest(inputs, first, steps)},
    }  # fmt: skip


def _by_noise_levels(node: dict[str, Any], first: int) -> tuple[Graph, Inputs, Inputs]:
    """Nodes that divide the schedule of a sampler with noise levels, and its inputs in the first part and in the rest."""
    added = {
        SPLIT: {"class_type": "SplitSigmas", "inputs": {"sigmas": node["inputs"]["sigmas"], "step": first}},
        NO_NOISE: {"class_type": "DisableNoise", "inputs": {}},
    }
    return added, {"sigmas": [SPLIT, 0]}, {"noise": [NO_NOISE, 0], "sigmas": [SPLIT, 1]}


def _by_steps(node: dict[str, Any], first: int) -> tuple[Graph, Inputs, Inputs]:
    """The same for a sampler with numbers of steps, which needs no other nodes."""
    border = node["inputs"]["start_at_step"] + first
    start = {"end_at_step": border, "return_with_leftover_noise": "enable"}
    return {}, start, {"start_at_step": border, "add_noise": "disable"}


def _choice(best: int, measured: NodeInfo, describe: Describe) -> Inputs:
    return describe("UncertaintyScoreFilter").defaults() | {
        "uncertainty": [FIRST, measured.output("UNCERTAINTY")],
        "latents": [FIRST, measured.output("LATENT")],
        "mode": "keep_best",
        "keep": best,
        "quantity": QUANTITY,
        "reject": bad_end(QUANTITY),
        "when_none_pass": "block",
    }


def _in_the_rest(inputs: dict[str, Any], first: int, steps: int) -> dict[str, float]:
    """The window of the whole schedule, as fractions of the steps that are left; their first if it ends before them."""
    start, end = (inputs[name] for name in ("window_start", "window_end"))
    if is_link(start) or is_link(end):
        return {}
    left = steps - first
    inside = [step - first for step in Window(start, end).steps(steps) if step >= first] or [0]
    return {"window_start": inside[0] / left, "window_end": (inside[-1] + 1) / left}
