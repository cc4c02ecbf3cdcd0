"""UncertaintyOptions: settings of the estimator and of guidance that most users leave alone."""

from collections.abc import Iterable
from typing import Any

from comfy_api.latest import io

from ...uncertainty.estimators import ESTIMATORS
from ...uncertainty.gradients import GRADIENTS, GUIDED_QUANTITIES
from ...uncertainty.guidance import MASK_SCOPES, MASK_SIDES
from ...uncertainty.options import DIRECTIONS, SCORE_SOURCES, Options
from ...uncertainty.recorder import KEEP
from .. import node_inputs, versions


class UncertaintyOptions(io.ComfyNode):
    """One input for each field of ``Options`` that is not for experiments."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return versions.schema(
            node_id="UncertaintyOptions",
            display_name="Uncertainty Options",
            category=node_inputs.CATEGORY,
            search_aliases=["settings", "estimator", "live preview"],
            description=(
                "Settings of the estimator and of guidance, for all nodes of this pack that measure or guide. Without this node, "
                "the defaults apply."
            ),
            inputs=[
                _choice(
                    "estimator",
                    ESTIMATORS,
                    tooltip=(
                        "How to compute maps. All estimators make the same model calls. "
                        + "; ".join(f"{name}: {estimator.summary}" for name, estimator in ESTIMATORS.items())
                        + "."
                    ),
                ),
                _choice(
                    "gradient",
                    GRADIENTS,
                    tooltip=(
                        "How to compute the gradient for guidance. auto: exact where model and memory allow it, otherwise "
                        "forward_only. exact: by a backward pass; an error if that is impossible. forward_only: without a "
                        "backward pass, for quantised or very large models. It gives only a rough direction: its cosine with the "
                        "exact gradient was 0.2 to 0.5 on the trained test models, and lower in half precision at low noise."
                    ),
                ),
                _choice(
                    "direction",
                    DIRECTIONS,
                    tooltip=(
                        "Which way to guide. ascend: towards higher values of guided_quantity, as in the paper. descend: towards "
                        "lower."
                    ),
                ),
                _choice(
                    "mask_scope",
                    MASK_SCOPES,
                    tooltip="What to take the percentile over. image: the whole image. channel: each latent channel separately.",
                ),
                _choice(
                    "mask_side",
                    MASK_SIDES,
                    tooltip="Which elements to guide. high: above the percentile or threshold, as in the paper. low: below it.",
                ),
                _choice(
                    "score_source",
                    SCORE_SOURCES,
                    tooltip=(
                        "Which prediction to measure. guided: the prediction after CFG, which makes the image. conditional: the "
                        "prediction with the positive prompt alone, at about half the extra cost when CFG is on."
                    ),
                ),
                io.Int.Input(
                    "max_batch",
                    default=Options.max_batch,
                    min=0,
                    max=4096,
                    tooltip="The largest number of latents to run through the model at once. 0: as many as fit into free memory.",
                ),
                io.Boolean.Input(
                    "live_preview",
                    default=Options.live_preview,
                    optional=True,
                    tooltip=(
                        "Show the images of the batch in a grid while sampling, with the current maps over them. If ComfyUI's "
                        "previews are off, the maps are shown alone."
                    ),
                ),
                _choice(
                    "keep_maps",
                    KEEP,
                    optional=True,
                    tooltip=(
                        "How to keep the maps of single steps, which can take gigabytes for many images, videos or steps. "
                        "every_step: all, in memory up to map_memory. sum: only their sum, as one step; scores are the same, but "
                        "single steps are lost. on_disk: all in ComfyUI's temporary folder until they are no longer needed."
                    ),
                ),
                _choice(
                    "guided_quantity",
                    GUIDED_QUANTITIES,
                    optional=True,
                    tooltip=(
                        "The quantity whose gradient guidance follows; percentile, mask_side and thresholds refer to it too. "
                        "score_variance: the paper's; high means sure. denoised_variance: high means unsure, so descend makes "
                        "the model surer. Its gradient has another scale and needs another strength."
                    ),
                ),
                io.Int.Input(
                    "map_memory",
                    default=Options.map_memory,
                    min=0,
                    max=1_048_576,
                    optional=True,
                    tooltip=(
                        "Megabytes of main memory that the maps of single steps may take, and with them the latents that wait "
                        "to be measured. What does not fit is kept on disk, as with on_disk."
                    ),
                ),
            ],
            outputs=[
                node_inputs.Options.Output(
                    "options",
                    display_name="OPTIONS",
                    tooltip="Connect to the options input of a sampler or guidance node of this pack.",
                )
            ],
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
        guided_quantity: str | None = None,
        input_types: dict[str, Any] | None = None,
    ) -> bool | str:
        return node_inputs.check_inputs(
            cls,
            input_types=input_types,
            estimator=estimator,
            gradient=gradient,
            direction=direction,
            mask_scope=mask_scope,
            mask_side=mask_side,
            score_source=score_source,
            keep_maps=keep_maps,
            guided_quantity=guided_quantity,
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
        guided_quantity: str = Options.guided_quantity,
        map_memory: int = Options.map_memory,
    ) -> io.NodeOutput:
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
                guided_quantity=guided_quantity,
                map_memory=map_memory,
            )
        )


def _choice(name: str, choices: Iterable[str], tooltip: str, *, optional: bool = False) -> io.Combo.Input:
    """The input for a field of ``Options``, with its default."""
    return io.Combo.Input(name, options=list(choices), default=getattr(Options, name), optional=optional, tooltip=tooltip)
