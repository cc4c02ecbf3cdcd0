"""UncertaintyExtraScore: scores of other packs' nodes beside the uncertainty of the same images."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ...uncertainty.extra_scores import ExtraScore, check_name, numbers
from ...uncertainty.maps import UncertaintyMap
from .. import node_inputs, versions

BETTER = ("higher", "lower")


class UncertaintyExtraScore(io.ComfyNode):
    """Adds a score to the images of a map."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A map, a number for each of its images, and what they mean."""
        return versions.schema(
            node_id="UncertaintyExtraScore",
            display_name="Add Extra Score",
            category=node_inputs.CATEGORY,
            search_aliases=["aesthetic", "pickscore", "combine scores", "rank"],
            description=(
                "Adds a score of another pack's node to the images of a map: PickScore, HPS, an aesthetic score, the likeness of "
                "a face. The filter then chooses by the mean rank of all scores, and Save Image (Uncertainty) saves them. Use "
                "one node for each score."
            ),
            is_input_list=True,  # scores may come as a list, one for each image
            inputs=[
                node_inputs.Uncertainty.Input("uncertainty", tooltip="The uncertainty map of the images."),
                io.AnyType.Input(
                    "scores",
                    tooltip="A number for each image, in order: a list of FLOAT, a list in one value, or a tensor.",
                ),
                io.String.Input("name", default="extra score", tooltip="What to call the score in reports and files."),
                io.Combo.Input("better", options=list(BETTER), tooltip="Which scores are better: the higher or the lower ones."),
            ],
            outputs=[
                node_inputs.Uncertainty.Output(
                    "uncertainty_with_score",
                    display_name="UNCERTAINTY",
                    tooltip="The map with the score. Connect it to the filter, to Save Image (Uncertainty) or to the next score.",
                    is_output_list=True,
                )
            ],
        )

    @classmethod
    def validate_inputs(
        cls, name: Any = None, better: Any = None, input_types: Sequence[dict[str, Any]] | None = None
    ) -> bool | str:
        return node_inputs.check_inputs(
            cls, checks=[(check_name, _only(name))], input_types=_only(input_types), better=_only(better)
        )

    @classmethod
    def execute(cls, uncertainty: list[UncertaintyMap], scores: list[Any], name: list[str], better: list[str]) -> io.NodeOutput:
        """Every map with its part of the scores; there are several if the batch was divided."""
        for each in uncertainty:
            node_inputs.check_types(uncertainty=each)
        called, direction = _single("name", name), _single("better", better)
        node_inputs.check_choices(cls, better=direction)
        check_name(called, {known for each in uncertainty for known in each.extra_scores})
        values = numbers(called, scores)
        counts = [each.images for each in uncertainty]
        if len(values) != sum(counts):
            raise ValueError(
                f"scores of {called} has {node_inputs.entries(len(values))}, but the map has {sum(counts)} images: connect one "
                "score for each image of this map."
            )
        parts = values.split(counts)
        added = [ExtraScore(part, direction == "higher") for part in parts]
        return io.NodeOutput(
            [
                replace(each, extra_scores={**each.extra_scores, called: score})
                for each, score in zip(uncertainty, added, strict=True)
            ]
        )


def _only(given: Any) -> Any:
    """The value in a list of one, as ComfyUI passes all inputs of this node."""
    return given[0] if isinstance(given, list | tuple) and given else given


def _single(name: str, given: Sequence[Any]) -> Any:
    if len(given) != 1:
        raise ValueError(f"{name} must be one value, got {node_inputs.entries(len(given))}: connect a single value.")
    return given[0]
