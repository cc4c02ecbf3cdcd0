"""UncertaintyCollect: the maps that UncertaintyRecord recorded."""

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from .. import node_inputs, packed_latents, versions
from ..choosing import ledger_access
from ..hook.recording import Measured, Recording
from .measuring_inputs import default_scores
from .sampling_names import named

NOTHING = (
    "There are no maps, because no node that leads to `after` sampled the recorded model. Connect the MODEL of Record "
    "Uncertainty to a sampler, and an output of the last node that samples with it to `after`."
)


class UncertaintyCollect(io.ComfyNode):
    """Gives a map for each sampling of a recorded model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyCollect",
            display_name="Collect Uncertainty",
            category=node_inputs.CATEGORY,
            search_aliases=["maps", "any sampler", "detailer", "tiles", "scores"],
            description=(
                "Gives the map of each sampling that Record Uncertainty measured, as a list: previews, filters and savers run "
                "once for each."
            ),
            is_input_list=True,  # otherwise each entry of a list in `after` would collect everything again
            inputs=[
                node_inputs.Recorded.Input("recording", tooltip="The recording of Record Uncertainty."),
                io.AnyType.Input(
                    "after",
                    tooltip=(
                        "Any output of the last node that samples, such as its LATENT or IMAGE, so that this node runs after it. "
                        "What this node and the nodes before it sampled is collected."
                    ),
                ),
                io.Latent.Input(
                    "whole",
                    optional=True,
                    tooltip=(
                        "The latent that tiles or crops are cut from, in the size at which they are sampled. With it, each is "
                        "named by where it lies."
                    ),
                ),
            ],
            outputs=[
                node_inputs.Uncertainty.Output(
                    "uncertainty",
                    display_name="UNCERTAINTY",
                    is_output_list=True,
                    tooltip="One map for each sampling: nodes in the order of the workflow, samplings of a node in their order.",
                ),
                io.Float.Output(
                    "scores",
                    display_name="scores",
                    is_output_list=True,
                    tooltip=(
                        "One score for each image of each map: denoised_variance summed over the recorded steps, or drift if "
                        "samples is 0. High means unsure."
                    ),
                ),
                io.String.Output(
                    "names",
                    display_name="names",
                    is_output_list=True,
                    tooltip="One name for each map: the node that sampled, number of the sampling, size and place of its latent.",
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="All samplings with their scores, and why one has no map."
                ),
            ],
        )

    @classmethod
    def execute(cls, recording: list[Recording], after: list[Any], whole: Sequence[dict] = ()) -> io.NodeOutput:
        for each in recording:
            node_inputs.check_types(recording=each)
        wholes = [[part.cpu() for part in packed_latents.parts(latent["samples"])] for latent in whole]
        found = [each for one in recording for each in named(one, wholes)]
        report = "\n".join(f"{name}: {_told(sampling)}" for name, sampling in found) or NOTHING
        measured = [(name, sampling.map) for name, sampling in found if sampling.map is not None]
        if not measured:
            blocked = [ExecutionBlocker(report)]
            return io.NodeOutput(blocked, blocked, blocked, report)
        names, maps = zip(*measured, strict=True)
        for uncertainty in maps:
            ledger_access.record_sampled(uncertainty)
        return io.NodeOutput(list(maps), [score for each in maps for score in default_scores(each)], list(names), report)


def _told(sampling: Measured) -> str:
    """What the report says of a sampling."""
    if sampling.map is None:
        return f"no map, because {sampling.failure}"
    return f"{sampling.map.default} {', '.join(f'{score:.4g}' for score in default_scores(sampling.map))}"
