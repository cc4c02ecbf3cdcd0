"""UncertaintyBaselines: what only experiments need, baselines beside the map and control arms of guidance."""

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ...uncertainty.baselines import BASELINES, Baseline, bayesdiff
from ...uncertainty.baselines.laplace import Laplace
from ...uncertainty.options import CONTROLS, Options
from .. import node_inputs, versions

# How many switches workflows of the first version have, in front of the other inputs.
FIRST_SWITCHES = 3


class UncertaintyBaselines(io.ComfyNode):
    """More options for the uncertainty samplers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Options to add to, and a switch for each baseline that needs nothing connected."""
        switched = [baseline for baseline in BASELINES.values() if baseline.switched]
        first = [_switch(baseline) for baseline in switched[:FIRST_SWITCHES]]
        # Saved workflows hold values by position and lack later ones: switches that came later are optional, at the end.
        later = [_switch(baseline, optional=True) for baseline in switched[FIRST_SWITCHES:]]
        return versions.schema(
            node_id="UncertaintyBaselines",
            display_name="Uncertainty Baselines",
            category=node_inputs.CATEGORY,
            search_aliases=["compare scores", "bayesdiff", "mc dropout"],
            is_experimental=True,
            description=(
                "For experiments: measures other scores of each image in the same run, and offers control arms for guidance. You "
                "can filter images by these scores, and they are saved with the image."
            ),
            inputs=[
                node_inputs.Options.Input("options", optional=True, tooltip="The options to add to, from Uncertainty Options."),
                *first,
                io.Combo.Input(
                    "control",
                    options=list(CONTROLS),
                    default=CONTROLS[0],
                    tooltip=(
                        "Replace guidance with a control. random_direction: a random direction of the same size. random_mask: "
                        "the gradient at random places. none: real guidance."
                    ),
                ),
                node_inputs.Laplace.Input(
                    "laplace",
                    optional=True,
                    tooltip="The result of Fit Laplace, to measure bayesdiff. Costs about twice as much as sampling.",
                ),
                *later,
            ],
            outputs=[
                node_inputs.Options.Output(
                    "options_with_baselines",
                    display_name="OPTIONS",
                    tooltip="Connect to the options input of a sampler or guidance node of this pack.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, control: str | None = None, input_types: dict[str, Any] | None = None) -> bool | str:
        return node_inputs.check_inputs(cls, input_types=input_types, control=control)

    @classmethod
    def execute(
        cls, control: str, options: Options | None = None, laplace: Laplace | None = None, **switches: bool
    ) -> io.NodeOutput:
        """Which baselines are measured: those switched on, and BayesDiff where its Laplace approximation is connected."""
        node_inputs.check_types(options=options, laplace=laplace)
        on = switches | {bayesdiff.BASELINE.name: laplace is not None}
        chosen = tuple(name for name in BASELINES if on.get(name))
        return io.NodeOutput(replace(options or Options(), baselines=chosen, control=control, laplace=laplace))


def _switch(baseline: Baseline, optional: bool = False) -> io.Boolean.Input:
    return io.Boolean.Input(baseline.name, default=False, optional=optional, tooltip=baseline.meaning)
