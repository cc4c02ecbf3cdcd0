"""UncertaintyScoreFilter: keep the good images of a batch, by score."""

from collections.abc import Sequence
from typing import Any

import torch
from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker
from torch import Tensor

from ...uncertainty.baselines import BASELINES
from ...uncertainty.choosing.selection import MODES, REJECT, WHEN_NONE_PASS, Standing, select
from ...uncertainty.maps import DEFAULT_QUANTITY, UncertaintyMap, finite
from ...uncertainty.thresholds import Thresholds
from .. import node_inputs
from . import filter_view, ledger_access

# Blocks what hangs on this output, silently, and nothing else.
NOTHING = ExecutionBlocker(None)


def _rows(tensor: Tensor | None, images: Sequence[int], each: int = 1) -> Any:
    """The rows of these images, ``each`` of them an image: all frames of a video."""
    if tensor is None or not images:
        return NOTHING
    return tensor[torch.as_tensor([image * each + frame for image in images for frame in range(each)])]


def _latents(latents: dict | None, images: Sequence[int]) -> Any:
    if latents is None or not images:
        return NOTHING
    count = len(latents["samples"])
    chosen = latents | {"samples": _rows(latents["samples"], images)}
    mask = latents.get("noise_mask")
    if mask is not None and len(mask) == count:
        chosen["noise_mask"] = _rows(mask, images)
    # Keeps each image's noise and probes when the latent is sampled again.
    indices = latents.get("batch_index") or list(range(count))
    chosen["batch_index"] = [indices[i] for i in images]
    return chosen


class UncertaintyScoreFilter(io.ComfyNode):
    """Splits a batch into kept and rejected images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A map, what is aligned with it, and the rule."""
        return io.Schema(
            node_id="UncertaintyScoreFilter",
            display_name="Filter by Uncertainty Score",
            category=node_inputs.CATEGORY,
            description="Splits a batch into kept and rejected images by their uncertainty score. Order is stable.",
            is_output_node=True,
            inputs=[
                node_inputs.Uncertainty.Input("uncertainty", tooltip="From an uncertainty sampler."),
                io.Image.Input(
                    "images", optional=True, tooltip="Images of the same batch, or all frames of its videos: these stay together."
                ),
                io.Latent.Input("latents", optional=True, tooltip="Latents of the same batch."),
                io.Mask.Input("masks", optional=True, tooltip="Masks of the same batch."),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    tooltip=(
                        "keep_best: this many; percentile: the best this many per cent; threshold: every image on the good "
                        "side of a score; reference: compared with calibrated images (thresholds), or without them with all "
                        "images of the same settings recorded so far, this batch included."
                    ),
                ),
                io.Int.Input("keep", default=4, min=1, max=4096, tooltip="keep_best: how many images to keep."),
                io.Float.Input(
                    "percentile",
                    default=50.0,
                    min=0.0,
                    max=100.0,
                    step=1.0,
                    round=0.01,
                    tooltip="percentile: keep the best this many per cent of the batch; reference: of those compared with.",
                ),
                io.Float.Input(
                    "threshold",
                    default=0.0,
                    min=-1e6,
                    max=1e6,
                    step=0.000001,
                    round=0.000001,
                    tooltip="threshold: the score at which images are cut.",
                ),
                node_inputs.score_input(),
                io.Combo.Input("reject", options=list(REJECT), tooltip="Which end of the scores is bad."),
                *node_inputs.window_inputs(0.0, 1.0, "Recorded steps inside the window count for the score."),
                io.Combo.Input(
                    "when_none_pass",
                    options=list(WHEN_NONE_PASS),
                    tooltip="No image passes: block the kept outputs, keep the best one anyway, or stop with an error.",
                ),
                node_inputs.Thresholds.Input(
                    "thresholds", optional=True, tooltip="Calibrated scores to compare with in mode reference."
                ),
            ],
            outputs=[
                io.Image.Output("kept_images", display_name="kept images"),
                io.Latent.Output("kept_latents", display_name="kept latents"),
                io.Mask.Output("kept_masks", display_name="kept masks"),
                node_inputs.Uncertainty.Output("kept_uncertainty", display_name="kept uncertainty"),
                io.Image.Output("rejected_images", display_name="rejected images"),
                io.Latent.Output("rejected_latents", display_name="rejected latents"),
                io.Mask.Output("rejected_masks", display_name="rejected masks"),
                io.Float.Output("scores", display_name="scores", is_output_list=True),
                io.Int.Output("kept_indices", display_name="kept indices", is_output_list=True),
                io.String.Output("report", display_name="report"),
                node_inputs.Uncertainty.Output("rejected_uncertainty", display_name="rejected uncertainty"),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        mode: str | None = None,
        quantity: str | None = None,
        reject: str | None = None,
        window_start: float | None = None,
        window_end: float | None = None,
        when_none_pass: str | None = None,
    ) -> bool | str:
        """Refuse what cannot work before anything runs."""
        choices = {"mode": mode, "quantity": quantity, "reject": reject, "when_none_pass": when_none_pass}
        return node_inputs.check_inputs(cls, window_start, window_end, **choices)

    @classmethod
    def fingerprint_inputs(cls, mode: str | None = None, **others: Any) -> Any:
        """Rank anew when images were recorded since."""
        return ledger_access.ledger().state() if mode == "reference" else None

    @classmethod
    def execute(
        cls,
        uncertainty: UncertaintyMap,
        mode: str,
        keep: int,
        percentile: float,
        threshold: float,
        quantity: str,
        reject: str,
        window_start: float,
        window_end: float,
        when_none_pass: str,
        images: Tensor | None = None,
        latents: dict | None = None,
        masks: Tensor | None = None,
        thresholds: Thresholds | None = None,
    ) -> io.NodeOutput:
        """Score, select, split."""
        node_inputs.check_types(uncertainty=uncertainty, thresholds=thresholds)
        if latents is not None and len(latents["samples"]) != uncertainty.images:
            count = len(latents["samples"])
            raise ValueError(f"latents holds {count}, the map {uncertainty.images}: connect the latents of this map.")
        frames = 1 if images is None else node_inputs.pictures_each("images", len(images), uncertainty)
        # A mask may be one a video, as it went into the sampler, or one a frame.
        one_each = masks is None or len(masks) == uncertainty.images
        mask_frames = 1 if one_each else node_inputs.pictures_each("masks", len(masks), uncertainty)
        if thresholds is not None:
            thresholds.check(uncertainty.settings)
            for step in uncertainty.steps:
                thresholds.at(step, uncertainty.values.shape[1:])
        counted = [s for s in uncertainty.steps if window_start <= s / uncertainty.total_steps < window_end]
        if not counted:
            raise ValueError(
                f"no recorded step lies between window_start {window_start} and window_end {window_end}: recorded are "
                f"{list(uncertainty.steps)} of {uncertainty.total_steps}."
            )
        if mode == "reference" and counted != list(uncertainty.steps):
            raise ValueError("mode 'reference' compares scores over all recorded steps: set window_start to 0, window_end to 1.")
        if mode == "reference" and quantity in BASELINES:
            raise ValueError(f"mode 'reference' knows no earlier {quantity}: choose another mode, or a quantity of the map.")
        everywhere = quantity in BASELINES and counted == list(uncertainty.steps)
        score = uncertainty.score(quantity, None if everywhere else counted)
        standing = None
        if mode == "reference" and thresholds is None:
            ledger = ledger_access.ledger()
            standing = Standing(*ledger.standing(ledger.record(uncertainty), quantity, score.value))
        else:
            ledger_access.record(uncertainty)  # also the rejected, which nobody saves, belong to what is usual
        chosen = select(
            score,
            quantity=quantity,
            mode=mode,
            keep=keep,
            percentile=percentile,
            threshold=threshold,
            reject=reject,
            when_none_pass=when_none_pass,
            thresholds=thresholds,
            standing=standing,
        )
        kept, rejected = chosen.kept, chosen.rejected
        scores = score.value.tolist()
        shown = {
            "scores": [finite(value) for value in score.value],
            "standard_errors": [finite(value) for value in score.standard_error],
            "kept": list(kept),
        }
        rule = {"mode": mode, "keep": keep, "percentile": percentile, "threshold": threshold, "reject": reject}
        judged = {
            **shown,
            "rule": {**rule, "when_none_pass": when_none_pass},
            "scored": {"quantity": quantity, "window_start": window_start, "window_end": window_end},
        }
        seen = DEFAULT_QUANTITY if quantity in BASELINES else quantity  # a baseline has no map
        pictures = filter_view.map_pictures(uncertainty, seen, counted) if images is None else images[::frames]
        return io.NodeOutput(
            _rows(images, kept, frames),
            _latents(latents, kept),
            _rows(masks, kept, mask_frames),
            uncertainty.select(kept) if kept else NOTHING,
            _rows(images, rejected, frames),
            _latents(latents, rejected),
            _rows(masks, rejected, mask_frames),
            scores,
            list(kept) or [NOTHING],
            chosen.report,
            uncertainty.select(rejected) if rejected else NOTHING,
            ui={
                **shown,
                "quantity": [quantity],
                "text": [chosen.report],
                "uncertainty_view": [filter_view.write(judged, pictures)],
            },
        )
