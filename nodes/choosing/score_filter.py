"""UncertaintyScoreFilter: keep the good images of a batch according to their score."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...uncertainty.baselines import BASELINES
from ...uncertainty.choosing.by_hand import ByHand, Verdicts
from ...uncertainty.choosing.cut import MODES, WHEN_NONE_PASS, Rule
from ...uncertainty.choosing.selection import Selection, select
from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.scores import BAD_ENDS, Score, finite
from ...uncertainty.settings import possible
from ...uncertainty.storage.fingerprints import batch_digest, image_digests
from ...uncertainty.thresholds import Thresholds
from ...uncertainty.window import Window
from .. import node_inputs, versions
from . import filter_view, judging, ledger_access, list_runs, waiting
from .aligned_batch import NOTHING, AlignedBatch
from .judging import Judged


class UncertaintyScoreFilter(io.ComfyNode):
    """Splits a batch into kept and rejected images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """A map, the images, latents and masks of its batch, and the rule."""
        return versions.schema(
            node_id="UncertaintyScoreFilter",
            display_name="Filter by Uncertainty Score",
            category=node_inputs.CATEGORY,
            search_aliases=[
                "best of",
                "best of n",
                "cull",
                "rank",
                "pick",
                "choose",
                "chooser",
                "pause",
                "select",
                "sort",
                "filter images",
                "quality",
                "reject",
                "bad images",
            ],
            essentials_category=node_inputs.ESSENTIALS,
            description=(
                "Splits a batch into kept and rejected images by uncertainty score. Images stay in order. If the map has extra "
                "scores, the mean rank by all scores decides."
            ),
            is_output_node=True,
            inputs=[
                node_inputs.Uncertainty.Input("uncertainty", tooltip="The uncertainty map of the batch."),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="The images of the batch, or all frames of its videos. Frames of a video stay together.",
                ),
                io.Latent.Input("latents", optional=True, tooltip="The latents of the batch."),
                io.Mask.Input("masks", optional=True, tooltip="The masks of the batch."),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    tooltip=(
                        "How to choose images. keep_best: a fixed number of the best. percentile: the best share of the batch. "
                        "threshold: all on the good side of a score. reference: those in the best share of the calibrated images "
                        "(thresholds) or, if none are connected, of all images recorded so far of the same prompt and settings, "
                        "including this batch; with fewer than 20 others, of this batch. choose: those that you choose in the "
                        "node; the run stops here until you send them on, and other runs go on meanwhile."
                    ),
                ),
                io.Int.Input("keep", default=4, min=1, max=4096, tooltip="How many images to keep (mode keep_best)."),
                node_inputs.percentile_input(
                    50.0,
                    "The percentage to keep: of the batch (mode percentile) or of the images compared with (mode reference).",
                    step=1.0,
                ),
                io.Float.Input(
                    "threshold",
                    default=0.0,
                    min=-1e6,
                    max=1e6,
                    step=0.000001,
                    round=0.000001,
                    tooltip="The score that separates kept from rejected images (mode threshold).",
                ),
                node_inputs.quantity_input(),
                versions.advanced(
                    io.Combo.Input("reject", options=list(BAD_ENDS), tooltip="Which scores to reject: the highest or the lowest.")
                ),
                *map(
                    versions.advanced,
                    node_inputs.window_inputs(0.0, 1.0, "Recorded steps inside the window count towards the score."),
                ),
                versions.advanced(
                    io.Combo.Input(
                        "when_none_pass",
                        options=list(WHEN_NONE_PASS),
                        tooltip="If no image passes: block the kept outputs, keep the best image anyway, or stop with an error.",
                    )
                ),
                node_inputs.Thresholds.Input(
                    "thresholds",
                    optional=True,
                    tooltip="The calibrated images to compare with, whatever their prompts (mode reference).",
                ),
                io.Boolean.Input(
                    "across_prompts",
                    default=False,
                    optional=True,
                    tooltip=(
                        "Mode reference: compare with the recorded images of all prompts instead of the same one. This mixes "
                        "easy and difficult prompts: a simple picture then ranks above a good one of a busy scene."
                    ),
                ),
                io.String.Input(
                    "by_hand",
                    default="",
                    optional=True,
                    dynamic_prompts=False,
                    tooltip=(
                        "The images that are kept and rejected by hand, whatever the rule says, and their stars. The view in the "
                        "node writes it; the help of the node tells how to name images through the API."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output("kept_images", display_name="kept images", tooltip="The images that were kept, in their order."),
                io.Latent.Output("kept_latents", display_name="kept latents", tooltip="The latents of the kept images."),
                io.Mask.Output("kept_masks", display_name="kept masks", tooltip="The masks of the kept images."),
                node_inputs.Uncertainty.Output(
                    "kept_uncertainty",
                    display_name="kept uncertainty",
                    tooltip="The map of the kept images, to save or filter again.",
                ),
                io.Image.Output("rejected_images", display_name="rejected images", tooltip="The images that were rejected."),
                io.Latent.Output(
                    "rejected_latents", display_name="rejected latents", tooltip="The latents of the rejected images."
                ),
                io.Mask.Output("rejected_masks", display_name="rejected masks", tooltip="The masks of the rejected images."),
                io.Float.Output(
                    "scores", display_name="scores", is_output_list=True, tooltip="One score for each image of the batch."
                ),
                io.Int.Output(
                    "kept_indices",
                    display_name="kept indices",
                    is_output_list=True,
                    tooltip="The places of the kept images in the batch, starting at 0.",
                ),
                io.String.Output("report", display_name="report", tooltip="Tells what was kept and why, image by image."),
                node_inputs.Uncertainty.Output(
                    "rejected_uncertainty", display_name="rejected uncertainty", tooltip="The map of the rejected images."
                ),
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
        by_hand: str | None = None,
        input_types: dict[str, Any] | None = None,
    ) -> bool | str:
        return node_inputs.check_inputs(
            cls,
            window_start,
            window_end,
            checks=[(ByHand.parse, by_hand)],
            input_types=input_types,
            mode=mode,
            quantity=quantity,
            reject=reject,
            when_none_pass=when_none_pass,
        )

    @classmethod
    def fingerprint_inputs(cls, mode: str | None = None, by_hand: str | None = None, **others: Any) -> Any:
        """In mode reference, run again if images have been recorded since the last run; in mode choose, while it waits."""
        if mode == "choose":
            return waiting.fingerprint(by_hand or "")
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
        across_prompts: bool = False,
        by_hand: str = "",
    ) -> io.NodeOutput:
        """Score the images, apply the rule and split the batch. While a person has yet to choose, every output is blocked."""
        node_inputs.check_types(uncertainty=uncertainty, thresholds=thresholds)
        node_inputs.check_choices(cls, mode=mode, quantity=quantity, reject=reject, when_none_pass=when_none_pass)
        batch = AlignedBatch.of(uncertainty, images, latents, masks)
        digests = image_digests(uncertainty)
        verdicts = ByHand.parse(by_hand).on(digests)
        batch = batch.rated(verdicts.stars)
        rule = Rule(mode, keep, percentile, threshold, reject, when_none_pass, bool(across_prompts))
        counted = _counted(uncertainty, Window(window_start, window_end))
        if mode == "reference":
            _check_reference(uncertainty, quantity, counted)
        if thresholds is not None:
            thresholds = thresholds.part(possible(uncertainty.settings).get("part"))
            _check_thresholds(uncertainty, thresholds, mode)
        score = uncertainty.score(quantity, counted)
        judged = judging.judge(uncertainty, quantity, score, rule, with_ledger=mode == "reference" and thresholds is None)
        chosen = select(
            judged.score,
            rule,
            quantity=judged.name,
            scored=quantity,
            thresholds=thresholds,
            comparison=judged.comparison,
            parts=judged.parts,
            verdicts=verdicts,
        )
        kept_images, kept_latents, kept_masks, kept_maps = batch.branch(chosen.kept, sorted_out=False)
        *rejected, rejected_maps = batch.branch(chosen.rejected, sorted_out=True)
        if chosen.waits:
            waiting.note(by_hand)
        scored = {"quantity": quantity, "window_start": window_start, "window_end": window_end}
        return io.NodeOutput(
            *(kept_images, kept_latents, kept_masks, kept_maps),
            *rejected,
            [NOTHING] if chosen.waits else judged.score.value.tolist(),
            list(chosen.kept) or [NOTHING],
            NOTHING if chosen.waits else chosen.report,
            rejected_maps,
            ui=_shown(batch, score, judged, chosen, rule, scored, counted, _decided(uncertainty, digests, verdicts)),
        )


def _counted(uncertainty: UncertaintyMap, window: Window) -> list[int]:
    """The recorded steps that count for the score; raise ValueError if there are none but could be."""
    if not uncertainty.steps:
        return []
    counted = window.among(uncertainty.steps, uncertainty.total_steps)
    if not counted:
        raise ValueError(
            f"no recorded step is between window_start {window.start} and window_end {window.end}: choose a window that contains "
            f"some of the recorded steps {list(uncertainty.steps)} of {uncertainty.total_steps}."
        )
    return counted


def _check_reference(uncertainty: UncertaintyMap, quantity: str, counted: Sequence[int]) -> None:
    if counted != list(uncertainty.steps):
        raise ValueError("mode 'reference' compares scores over all recorded steps: set window_start to 0 and window_end to 1.")
    if quantity in BASELINES:
        raise ValueError(f"mode 'reference' has no earlier scores of {quantity}: choose another mode, or a quantity of the map.")


def _check_thresholds(uncertainty: UncertaintyMap, thresholds: Thresholds, mode: str) -> None:
    if mode == "reference" and uncertainty.extra_scores:
        raise ValueError(
            f"the calibrated images have no {' and no '.join(uncertainty.extra_scores)}: disconnect thresholds to compare with "
            "recorded images, or connect a map without extra scores."
        )
    thresholds.check(uncertainty.settings)
    for step in uncertainty.steps:
        thresholds.at(step, uncertainty.shape[1:])


def _shown(
    batch: AlignedBatch,
    own: Score,
    judged: Judged,
    chosen: Selection,
    rule: Rule,
    scored: dict[str, Any],
    counted: Sequence[int],
    decided: dict[str, Any],
) -> dict[str, Any]:
    """The result for the view in the node and for API clients; ComfyUI joins each list over the batches of a run."""
    quantity = scored["quantity"]
    scores, errors = _finite(judged.score)
    mapped = quantity if quantity in batch.uncertainty.names else batch.uncertainty.default
    names = [] if batch.images is None else dict.fromkeys((mapped, *batch.uncertainty.names))
    maps = {name: filter_view.map_pictures(batch.uncertainty, name, counted) for name in names}
    videos = None if batch.images is None else batch.images.unflatten(0, (-1, batch.frames))
    pictures = filter_view.map_pictures(batch.uncertainty, mapped, counted) if videos is None else videos[:, 0]
    view = {"scores": scores, "standard_errors": errors, "kept": list(chosen.kept), "rule": asdict(rule), "scored": scored}
    view |= {"compared": chosen.compared, "parts": [], "by_rule": list(chosen.by_rule)} | decided | _sampled(batch.uncertainty)
    view |= {"waits": chosen.waits, "run": waiting.this_run()}
    extra = batch.uncertainty.extra_scores
    if extra:
        view["scored"] = scored | {"reject": rule.reject}  # which gives the mean rank its direction
        parts = {quantity: _finite(own), **{name: (score.values.tolist(), None) for name, score in extra.items()}}
        view["parts"] = [{"name": name, "scores": values, "standard_errors": these} for name, (values, these) in parts.items()]
    first = list_runs.first_number(len(scores))
    return {
        "scores": scores,
        "standard_errors": errors,
        "kept": [first + index for index in chosen.kept],  # positions in `scores`, which ComfyUI joins over all batches
        "batches": [len(scores)],
        "batch_digests": [batch_digest(decided["digests"])],
        "waits": [chosen.waits],
        "quantity": [judged.name],
        "text": [chosen.report],
        **filter_view.write(view, pictures, videos, maps, [] if videos is None else chosen.kept),
    }


def _sampled(uncertainty: UncertaintyMap) -> dict[str, Any]:
    """What sampled each image: the seed, as text because browsers round large numbers, and the place in its batch."""
    seed = possible(uncertainty.settings).get("seed")
    return {"seed": None if seed is None else str(seed), "places": list(uncertainty.places)}


def _decided(uncertainty: UncertaintyMap, digests: Sequence[str], verdicts: Verdicts) -> dict[str, Any]:
    """What the view needs for verdicts by hand: those of this run, and the stars that the images came with."""
    by_hand = {"keep": sorted(verdicts.keep), "reject": sorted(verdicts.reject), "stars": dict(verdicts.stars)}
    return {"digests": list(digests), "by_hand": by_hand, "stars": list(uncertainty.stars)}


def _finite(score: Score) -> tuple[list[float | None], list[float | None]]:
    """Values and standard errors, None where they are not finite."""
    return [finite(value) for value in score.value], [finite(value) for value in score.standard_error]
