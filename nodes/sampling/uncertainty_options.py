"""UncertaintyOptions: choices few users need."""

from comfy_api.latest import io

from ...uncertainty.estimators import DEFAULT_ESTIMATOR, ESTIMATORS
from ...uncertainty.gradients import GRADIENTS
from ...uncertainty.guidance import MASK_SCOPES, MASK_SIDES
from ...uncertainty.options import DIRECTIONS, SCORE_SOURCES, Options
from ...uncertainty.recorder import KEEP
from .. import node_inputs


class UncertaintyOptions(io.ComfyNode):
    """How uncertainty is estimated and guided by."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """One input for each field of ``Options``."""
        return io.Schema(
            node_id="UncertaintyOptions",
            display_name="Uncertainty Options",
            category=node_inputs.CATEGORY,
            description="Estimator and guidance details for the uncertainty samplers and Uncertainty Guidance; may be left out.",
            inputs=[
                io.Combo.Input(
                    "estimator",
                    options=list(ESTIMATORS),
                    default=DEFAULT_ESTIMATOR,
                    tooltip=(
                        "How maps are computed from the same model calls. "
                        + "; ".join(f"{name}: {estimator.summary}" for name, estimator in ESTIMATORS.items())
                        + "."
                    ),
                ),
                io.Combo.Input(
                    "gradient",
                    options=list(GRADIENTS),
                    default=Options.gradient,
                    tooltip=(
                        "How guidance differentiates. auto: exact where the model and memory allow it. exact: by a backward "
                        "pass, or an error. forward_only: no backward pass, for quantised or very large models; a rough "
                        "direction only: its cosine with the exact one was 0.2 to 0.5 on the trained test models, less in "
                        "half precision at low noise."
                    ),
                ),
                io.Combo.Input(
                    "direction",
                    options=list(DIRECTIONS),
                    default=Options.direction,
                    tooltip="ascend: towards higher score_variance, as in the paper; descend: towards lower.",
                ),
                io.Combo.Input(
                    "mask_scope",
                    options=list(MASK_SCOPES),
                    default=Options.mask_scope,
                    tooltip="Whether the percentile is taken over the whole image or over each latent channel of it.",
                ),
                io.Combo.Input(
                    "mask_side",
                    options=list(MASK_SIDES),
                    default=Options.mask_side,
                    tooltip="Guide the elements above (high, as in the paper) or below (low) the percentile or threshold.",
                ),
                io.Combo.Input(
                    "score_source",
                    options=list(SCORE_SOURCES),
                    default=Options.score_source,
                    tooltip=(
                        "Whose uncertainty is measured. guided: of the prediction after CFG, which makes the image; conditional: "
                        "of the positive prompt alone, at about half the extra cost where CFG is on."
                    ),
                ),
                io.Int.Input(
                    "max_batch",
                    default=Options.max_batch,
                    min=0,
                    max=4096,
                    tooltip="How many latents may go through the model at once. 0: as many as fit into free memory.",
                ),
                io.Boolean.Input(
                    "live_preview",
                    default=Options.live_preview,
                    optional=True,
                    tooltip=(
                        "While sampling runs, show the current map over the step preview in the sampler; alone, where ComfyUI's "
                        "previews are off."
                    ),
                ),
                io.Combo.Input(
                    "keep_maps",
                    options=list(KEEP),
                    default=Options.keep_maps,
                    optional=True,
                    tooltip=(
                        "What becomes of the maps of single steps, which for many images, videos or steps take gigabytes. "
                        "every_step: all stay in memory. sum: only their sum stays, as one step; scores are the same, steps "
                        "cannot be told apart. on_disk: all lie in ComfyUI's temporary folder until nobody needs them."
                    ),
                ),
            ],
            outputs=[node_inputs.Options.Output("options", display_name="OPTIONS", tooltip="For the input options.")],
        )

    @classmethod
    def validate_inputs(
        cls,
        estimator: str | None = None,
        gradient: str | None = None,
        direction: str | None = None,
        mask_scope: str | None = None,
        mask_side: str | None = None,
        score_source: str | None = None,
        keep_maps: str | None = None,
    ) -> bool | str:
        """Refuse what cannot work before anything runs."""
        return node_inputs.check_inputs(
            cls,
            estimator=estimator,
            gradient=gradient,
            direction=direction,
            mask_scope=mask_scope,
            mask_side=mask_side,
            score_source=score_source,
            keep_maps=keep_maps,
        )

    @classmethod
    def execute(
        cls,
        estimator: str,
        gradient: str,
        direction: str,
        mask_scope: str,
        mask_side: str,
        score_source: str,
        max_batch: int,
        live_preview: bool = Options.live_preview,
        keep_maps: str = Options.keep_maps,
    ) -> io.NodeOutput:
        """Put them together."""
        return io.NodeOutput(
            Options(
                estimator=estimator,
                gradient=gradient,
                direction=direction,
                mask_scope=mask_scope,
                mask_side=mask_side,
                score_source=score_source,
                max_batch=max_batch,
                live_preview=live_preview,
                keep_maps=keep_maps,
            )
        )
