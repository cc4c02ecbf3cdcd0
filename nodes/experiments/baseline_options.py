"""UncertaintyBaselines: what only experiments need, baselines beside the map and control arms of guidance."""

from dataclasses import replace

from comfy_api.latest import io

from ...uncertainty.baselines.laplace import Laplace
from ...uncertainty.options import CONTROLS, Options
from .. import node_inputs


class UncertaintyBaselines(io.ComfyNode):
    """More options for the uncertainty samplers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Options to add to, and a switch for each baseline."""
        return io.Schema(
            node_id="UncertaintyBaselines",
            display_name="Uncertainty Baselines",
            category=node_inputs.CATEGORY,
            description=(
                "For experiments: other scores of an image, measured in the same run, and control arms of guidance. The scores "
                "can be filtered by and are saved with the image."
            ),
            inputs=[
                node_inputs.Options.Input("options", optional=True, tooltip="From Uncertainty Options; these stay as they are."),
                io.Boolean.Input(
                    "paper_score",
                    default=False,
                    tooltip=(
                        "The paper's score by the paper's own estimate (plain variance, independent copies), to compare with "
                        "score_variance. High means certain. Costs as much as the map."
                    ),
                ),
                io.Boolean.Input(
                    "mc_dropout",
                    default=False,
                    tooltip=(
                        "Variance of the prediction with dropout switched on. High means unsure. Needs a model trained with "
                        "dropout, which most are not. Costs as much as the map."
                    ),
                ),
                io.Boolean.Input(
                    "cfg_rejection",
                    default=False,
                    tooltip=(
                        "How much the prompt changes the prediction over the first 30 % of the steps. High means a likely good "
                        "image. Costs nothing; needs cfg other than 1."
                    ),
                ),
                io.Combo.Input(
                    "control",
                    options=list(CONTROLS),
                    default=CONTROLS[0],
                    tooltip=(
                        "Guidance as a control experiment: along a random direction of the same size, or along the gradient at "
                        "random places. none for real guidance."
                    ),
                ),
                node_inputs.Laplace.Input(
                    "laplace",
                    optional=True,
                    tooltip="From Fit Laplace: measures bayesdiff, at about twice the cost of sampling.",
                ),
            ],
            outputs=[
                node_inputs.Options.Output("options_with_baselines", display_name="OPTIONS", tooltip="For the input options.")
            ],
        )

    @classmethod
    def validate_inputs(cls, control: str | None = None) -> bool | str:
        """Refuse what cannot work before anything runs."""
        return node_inputs.check_inputs(cls, control=control)

    @classmethod
    def execute(
        cls,
        paper_score: bool,
        mc_dropout: bool,
        cfg_rejection: bool,
        control: str,
        options: Options | None = None,
        laplace: Laplace | None = None,
    ) -> io.NodeOutput:
        """Add them."""
        node_inputs.check_types(options=options, laplace=laplace)
        switches = {
            "paper_score": paper_score,
            "mc_dropout": mc_dropout,
            "bayesdiff": laplace is not None,
            "cfg_rejection": cfg_rejection,
        }
        chosen = tuple(name for name, on in switches.items() if on)
        return io.NodeOutput(replace(options or Options(), baselines=chosen, control=control, laplace=laplace))
