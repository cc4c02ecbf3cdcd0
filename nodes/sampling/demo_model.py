"""UncertaintyDemoModel: the small model that ships with the pack, one widget away from any checkpoint."""

import folder_paths
from comfy_api.latest import io

import nodes as comfy_nodes  # ComfyUI's own, not this package: that is imported relatively

from ...demo import model as demo
from .. import node_inputs

DEMO = "demo model"


class UncertaintyDemoModel(io.ComfyNode):
    """CheckpointLoaderSimple with one more choice, which needs no download."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Which parameterisation the weights are served in, or which checkpoint comes in their place."""
        return io.Schema(
            node_id="UncertaintyDemoModel",
            display_name="Load Demo Model (Emoji, 64 px)",
            category=node_inputs.CATEGORY,
            description=(
                "A tiny text-to-image model that ships with this pack and draws emoji on a CPU in seconds. An Empty Latent "
                "Image of 512x512 gives 64x64 pixels. For real work choose a checkpoint instead, here or in Load Checkpoint."
            ),
            inputs=[
                io.Combo.Input(
                    "family",
                    options=list(demo.FAMILIES),
                    default=demo.FAMILIES[0],
                    optional=True,
                    tooltip="Serve the same weights as a noise-predicting model (like SD1.5) or a flow model (like SD3, Flux).",
                ),
                io.Combo.Input(
                    "checkpoint",
                    options=[DEMO, *folder_paths.get_filename_list("checkpoints")],
                    default=DEMO,
                    optional=True,
                    tooltip="The demo model, or a checkpoint of yours in its place: then set the image size and CFG it needs.",
                ),
            ],
            outputs=[
                io.Model.Output("model", display_name="MODEL"),
                io.Clip.Output("clip", display_name="CLIP"),
                io.Vae.Output("vae", display_name="VAE"),
            ],
        )

    @classmethod
    def validate_inputs(cls, family: str | None = None, checkpoint: str | None = None) -> bool | str:
        """Refuse what cannot work before anything runs."""
        return node_inputs.check_inputs(cls, family=family, checkpoint=checkpoint)

    @classmethod
    def execute(cls, family: str = demo.FAMILIES[0], checkpoint: str = DEMO) -> io.NodeOutput:
        """Load it."""
        if checkpoint == DEMO:
            return io.NodeOutput(*demo.load(family))
        return io.NodeOutput(*comfy_nodes.CheckpointLoaderSimple().load_checkpoint(checkpoint))
