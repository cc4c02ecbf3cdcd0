"""UncertaintyDemoModel: the small model that ships with the pack."""

from comfy_api.latest import io

from ..demo import model as demo
from . import common


class UncertaintyDemoModel(io.ComfyNode):
    """A stand-in for CheckpointLoaderSimple that needs no download."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """No files; only which parameterisation the weights are served in."""
        return io.Schema(
            node_id="UncertaintyDemoModel",
            display_name="Load Demo Model (Emoji, 64 px)",
            category=common.CATEGORY,
            description=(
                "A tiny text-to-image model that ships with this pack and draws emoji on a CPU in seconds. An Empty Latent "
                "Image of 512x512 gives 64x64 pixels. Replace it by Load Checkpoint for real work."
            ),
            inputs=[
                io.Combo.Input(
                    "family",
                    options=list(demo.FAMILIES),
                    default=demo.FAMILIES[0],
                    optional=True,
                    tooltip="Serve the same weights as a noise-predicting model (like SD1.5) or a flow model (like SD3, Flux).",
                )
            ],
            outputs=[
                io.Model.Output("model", display_name="MODEL"),
                io.Clip.Output("clip", display_name="CLIP"),
                io.Vae.Output("vae", display_name="VAE"),
            ],
        )

    @classmethod
    def validate_inputs(cls, family: str | None = None) -> bool | str:
        """Refuse what cannot work before anything runs."""
        return common.check_inputs(cls, family=family)

    @classmethod
    def execute(cls, family: str = demo.FAMILIES[0]) -> io.NodeOutput:
        """Load it."""
        return io.NodeOutput(*demo.load(family))
