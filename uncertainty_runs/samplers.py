"""Which sampler of a graph is measured, and the node that measures in its place."""

from collections.abc import Iterator, Sequence
from typing import Any

from .graph import Graph, WorkflowError, changed, is_link, links, upstream
from .node_info import Describe

# A plain sampler becomes the one that measures.
TWINS = {
    "KSampler": "UncertaintyKSampler",
    "SamplerCustomAdvanced": "UncertaintySamplerCustom",
    "KSamplerAdvanced": "UncertaintyKSamplerAdvanced",
    "SamplerCustom": "UncertaintySamplerCustom",
}
SAMPLERS = (*TWINS, *dict.fromkeys(TWINS.values()))
RECORDER = "UncertaintyRecord"
SHOWN = 5
# What SamplerCustom is taken apart into.
PARTS = ("model", "positive", "negative", "cfg", "noise_seed", "sampler", "sigmas", "latent_image")

# Ids of added nodes.
NOISE, GUIDER, SAMPLER, SCHEDULE = (f"evaluation {name}" for name in ("noise", "guider", "sampler", "schedule"))

# KSampler leaves out one noise level for these, BasicScheduler does not.
OTHER_SCHEDULES = ("dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2")


def decoded_sampler(graph: Graph) -> tuple[str, str]:
    """Ids of the sampler that is measured and of the node that decodes its latents.

    Of several samplers whose latents are decoded it is the last one, which depends on all others.

    Raises:
        WorkflowError: there is none, or there are several that do not depend on one another.
    """
    samplers = {number for number, node in graph.items() if node["class_type"] in SAMPLERS}
    decoders: dict[str, str] = {}
    for number, node in graph.items():
        latents = node["inputs"].get("samples")
        if node["class_type"].startswith("VAEDecode") and is_link(latents) and latents[0] in samplers:
            decoders.setdefault(latents[0], number)
    if not samplers:
        raise WorkflowError(f"the workflow has no sampler that can be measured ({', '.join(SAMPLERS)}): add one.")
    if not decoders:
        raise WorkflowError("no VAE Decode is connected to the sampler's first output: add one.")
    earlier = upstream(graph, [source for sampler in decoders for _, source in links(graph[sampler])])
    last = [sampler for sampler in decoders if sampler not in earlier]
    if len(last) != 1:
        raise WorkflowError(
            f"the workflow decodes the latents of {len(last)} samplers that do not depend on one another ({_listed(last)}): "
            "remove all but one, and its decoder."
        )
    return last[0], decoders[last[0]]


def measuring(graph: Graph, number: str, describe: Describe) -> Graph:
    """The graph whose sampler ``number`` measures, with default settings where it did not measure before.

    Raises:
        WorkflowError: it is a SamplerCustom that lacks an input.
        NodeError: ComfyUI lacks a node.
    """
    node = graph[number]
    kind, given = node["class_type"], node["inputs"]
    if kind not in TWINS:
        return graph
    twin, added = describe(TWINS[kind]), dict[str, dict[str, Any]]()
    inputs = {name: value for name, value in twin.defaults().items() if name not in describe(kind).inputs}
    if kind == "SamplerCustom":
        missing = [name for name in PARTS if name not in given]
        if missing:
            raise WorkflowError(
                f"{kind} (node {number}) lacks its input {missing[0]}: connect or enter it, and export the workflow again."
            )
        added = dict(_noise_and_guider(number, given, adds_noise=given.get("add_noise")))
        given = {name: given[name] for name in ("sampler", "sigmas", "latent_image")}
        given = {"noise": [NOISE, 0], "guider": [GUIDER, 0]} | given
    return graph | added | {number: {**node, "class_type": twin.class_type, "inputs": inputs | given}}


def without_recorders(graph: Graph, describe: Describe) -> Graph:
    """The graph without the nodes that record every sampling of a model, but for those whose recording is used in it.

    The sampler that is measured would be measured twice.

    Raises:
        NodeError: ComfyUI lacks the node.
    """
    for number in [number for number, node in graph.items() if node["class_type"] == RECORDER]:
        model, recorded = graph[number]["inputs"].get("model"), [number, describe(RECORDER).output("MODEL")]
        uses = [(other, name) for other, node in graph.items() for name, source in links(node) if source == number]
        if is_link(model) and model[0] != number and all(graph[other]["inputs"][name] == recorded for other, name in uses):
            for other, name in uses:
                graph = changed(graph, other, **{name: model})
            graph = {other: node for other, node in graph.items() if other != number}
    return graph


def is_stage(node: dict[str, Any]) -> bool:
    """Whether a measuring sampler samples a part of a schedule by the numbers of its steps."""
    return bool(node["class_type"] == TWINS["KSamplerAdvanced"])


def in_parts(graph: Graph, number: str, describe: Describe) -> Graph:
    """The graph whose measuring sampler has its noise, guider, sampler and noise levels in nodes of their own.

    A sampler that ``is_stage`` stays as it is.

    Raises:
        WorkflowError: it is a KSampler whose schedule such nodes do not have.
        NodeError: ComfyUI lacks a node.
    """
    node = graph[number]
    if node["class_type"] != TWINS["KSampler"]:
        return graph
    given = node["inputs"]
    name = given["sampler_name"]
    if is_link(name) or name in OTHER_SCHEDULES:
        raise WorkflowError(
            f"the schedule of node {number} cannot be split with sampler_name {name!r}: it must be entered in the node and must "
            f"not be {', '.join(OTHER_SCHEDULES)}."
        )
    schedule = {each: given[each] for each in ("model", "scheduler", "steps", "denoise")}
    added = dict(_noise_and_guider(number, given | {"noise_seed": given["seed"]}, adds_noise=True)) | {
        SAMPLER: {"class_type": "KSamplerSelect", "inputs": {"sampler_name": name}},
        SCHEDULE: {"class_type": "BasicScheduler", "inputs": schedule},
    }
    custom = describe(TWINS["SamplerCustomAdvanced"])
    kept = {each: value for each, value in given.items() if each in custom.inputs}
    parts = {"noise": [NOISE, 0], "guider": [GUIDER, 0], "sampler": [SAMPLER, 0], "sigmas": [SCHEDULE, 0]}
    return graph | added | {number: {**node, "class_type": custom.class_type, "inputs": kept | parts}}


def _noise_and_guider(number: str, given: dict[str, Any], *, adds_noise: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(adds_noise, bool):
        raise WorkflowError(f"add_noise of node {number} must be entered in the node, got {given.get('add_noise')!r}.")
    if adds_noise:
        yield NOISE, {"class_type": "RandomNoise", "inputs": {"noise_seed": given["noise_seed"]}}
    else:
        yield NOISE, {"class_type": "DisableNoise", "inputs": {}}
    guider = {name: given[name] for name in ("model", "positive", "negative", "cfg")}
    yield GUIDER, {"class_type": "CFGGuider", "inputs": guider}


def _listed(numbers: Sequence[str]) -> str:
    more = "" if len(numbers) <= SHOWN else f" and {len(numbers) - SHOWN} more"
    return f"nodes {', '.join(numbers[:SHOWN])}{more}"
