"""UncertaintyPart: the map of one of the latents that were sampled together."""

from comfy_api.latest import io

from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.plain_numbers import whole
from .. import node_inputs, versions
from ..sampling.measuring_inputs import default_scores


class UncertaintyPart(io.ComfyNode):
    """Gives the map of one part, such as that of a video's sound, to the nodes that show, filter and save maps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyPart",
            display_name="Uncertainty of a Part",
            category=node_inputs.CATEGORY,
            search_aliases=["audio", "sound", "separate", "camera", "split"],
            description=(
                "Gives the map of one of the latents that were sampled together, such as the sound of a video. Nodes that show "
                "and filter maps use the first that is sampled."
            ),
            inputs=[
                node_inputs.Uncertainty.Input("uncertainty", tooltip="The uncertainty map of several latents."),
                io.Int.Input(
                    "part",
                    default=1,
                    min=0,
                    max=15,
                    tooltip="Which latent, in the order in which they were joined: 0 the first (video), 1 the second (sound).",
                ),
            ],
            outputs=[
                node_inputs.Uncertainty.Output(
                    "uncertainty_of_part", display_name="UNCERTAINTY", tooltip="The map of this part."
                ),
                io.Float.Output(
                    "scores",
                    display_name="scores",
                    is_output_list=True,
                    tooltip="One score for each image: as those of the sampler, but of this part.",
                ),
            ],
        )

    @classmethod
    def execute(cls, uncertainty: UncertaintyMap, part: int) -> io.NodeOutput:
        node_inputs.check_types(uncertainty=uncertainty)
        alone = uncertainty.part(whole("part", part))
        return io.NodeOutput(alone, default_scores(alone))
