"""UncertaintyDemoModel: loads the small model that ships with the pack, or a checkpoint in its place."""

from typing import Any

import folder_paths
from comfy_api.latest import io

import nodes as comfy_nodes  # ComfyUI's own, not this package: that is imported relatively

from ...demo import model as demo
from .. import node_inputs, versions

DEMO = "demo model"


class UncertaintyDemoModel(io.ComfyNode):
    """CheckpointLoaderSimple with one more choice: a model that needs no download."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyDemoModel",
            display_name="Load Demo Model (Emoji, 64 px)",
            category=node_inputs.CATEGORY,
            search_aliases=["test model", "example model"],
            description=(
                "Loads a tiny text-to-image model that ships with this pack and draws emoji on a CPU in seconds. A 512x512 Empty "
                "Latent Image gives 64x64 pixels. For real work, choose a checkpoint here or use Load Checkpoint."
            ),
            inputs=[
                io.Combo.Input(
                    "family",
                    options=list(demo.FAMILIES),
                    default=demo.FAMILIES[0],
                    optional=True,
                    tooltip=(
                        "How to present the weights of the demo model. noise prediction: as a model like SD1.5. rectified flow: "
                        "as a model like SD3 or Flux."
                    ),
                ),
                io.Combo.Input(
                    "checkpoint",
                    options=[DEMO, *folder_paths.get_filename_list("checkpoints")],
                    default=DEMO,
                    optional=True,
                    tooltip="The model to load: the demo model or one of your checkpoints. Set image size and CFG to suit it.",
                ),
            ],
            outputs=[
                io.Model.Output("model", display_name="MODEL", tooltip="The model, to sample with."),
                io.Clip.Output("clip", display_name="CLIP", tooltip="Reads prompts: connect to CLIP Text Encode."),
                io.Vae.Output("vae", display_name="VAE", tooltip="Turns latents into images: connect to VAE Decode."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, family: str | None = None, checkpoint: str | None = None, input_types: dict[str, Any] | None = None
    ) -> bool | str:
        return node_inputs.check_inputs(cls, input_types=input_types, family=family, checkpoint=checkpoint)

    @classmethod
    def execute(cls, family: str = demo.FAMILIES[0], checkpoint: str = DEMO) -> io.NodeOutput:
        node_inputs.check_choices(cls, family=family, checkpoint=checkpoint)
        if checkpoint == DEMO:
            return io.NodeOutput(*demo.load(family))
        return io.NodeOutput(*comfy_nodes.CheckpointLoaderSimple().load_checkpoint(checkpoint))
