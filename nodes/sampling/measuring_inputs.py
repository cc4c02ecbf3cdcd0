"""Inputs, outputs and checks shared by the nodes that measure or guide."""

from collections.abc import Sequence

from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from ...uncertainty.maps import UncertaintyMap
from ...uncertainty.plain_numbers import whole
from ...uncertainty_runs.lost_maps import reported
from .. import node_inputs, packed_latents, versions
from ..choosing import ledger_access
from ..hook.sampling_hook import UncertaintyRun

# One step, at which shapes are decided. Early steps rank images no worse than the paper's four, which cost four times as much
# (docs/evidence/confirming.md, docs/evidence.md#4).
EARLY = (0.30, 0.32)
# De Vita & Belagiannis 2025: steps 45 to 48 of 50.
PAPER = (0.90, 0.98)


def inputs(strength: float = 0.0, window: tuple[float, float] = EARLY) -> list[io.Input]:
    """The last inputs of each node that measures and guides.

    Args:
        strength: its default. The samplers only measure by default: on the demo model, guidance brought no proven benefit
            (docs/evidence.md).
        window: defaults of ``window_start`` and ``window_end``.
    """
    return [
        samples(),
        io.Float.Input(
            "strength",
            default=strength,
            min=-100.0,
            max=100.0,
            step=0.1,
            round=0.001,
            tooltip=(
                "How strongly to guide the elements that percentile selects (λ). 0 only measures; the image is then "
                "bit-identical to that of the plain sampler. The paper uses 1 with the window 0.90 to 0.98, which has no visible "
                "effect on the demo model. No strength has been shown to make its images better."
            ),
        ),
        versions.advanced(
            node_inputs.percentile_input(
                95.0,
                "Guide only elements above this percentile of their image (p). With the default guided_quantity, "
                "score_variance, these are elements where the model is sure, as in the paper.",
            )
        ),
        *map(versions.advanced, node_inputs.window_inputs(*window, "Step i is measured and guided if start ≤ i/steps < end.")),
        node_inputs.Thresholds.Input(
            "thresholds", optional=True, tooltip="Calibrated thresholds for each step, used instead of the percentile."
        ),
        node_inputs.Options.Input(
            "options", optional=True, tooltip="Settings of the estimator and of guidance. Without them, the defaults apply."
        ),
    ]


def only_measuring() -> list[io.Input]:
    """The inputs of a node that only measures."""
    return [
        samples(),
        *map(versions.advanced, node_inputs.window_inputs(*EARLY, "Step i is measured if start ≤ i/steps < end.")),
        node_inputs.Options.Input(
            "options", optional=True, tooltip="Settings of the estimator. Without them, the defaults apply."
        ),
    ]


def samples() -> io.Input:
    """How many probes are drawn, M."""
    return io.Int.Input(
        "samples",
        default=5,
        min=0,
        max=64,
        tooltip=(
            "How many noisy copies to denoise per step of the window (M), at least 2. More take longer but make the map less "
            "noisy. 0 denoises none and records only what costs no time, such as drift."
        ),
    )


def outputs() -> list[io.Output]:
    """The outputs of a measuring sampler that follow its latents."""
    return [
        node_inputs.Uncertainty.Output(
            "uncertainty", display_name="UNCERTAINTY", tooltip="The maps of all recorded steps and of the whole run."
        ),
        io.Float.Output(
            "scores",
            display_name="scores",
            is_output_list=True,
            tooltip=(
                "One score per image: denoised_variance summed over the recorded steps, or drift if samples is 0. High means "
                "unsure."
            ),
        ),
    ]


def results(run: UncertaintyRun, sampler: str, *latents: dict) -> io.NodeOutput:
    """The latents and these outputs. Without a map, only these outputs are blocked, so that the finished image is not lost."""
    if run.has_map:
        measured = run.uncertainty_map()
        ledger_access.record_sampled(measured)
        return io.NodeOutput(*latents, measured, default_scores(measured))
    return without_map(run.why_no_map(sampler), *latents)


def without_map(why: str, *latents: dict) -> io.NodeOutput:
    """What a sampler returns for images that have no map. Only the outputs of the map are blocked: the images are not lost."""
    blocked = ExecutionBlocker(f"The image is finished but has no uncertainty map, because {why}")
    return io.NodeOutput(*latents, blocked, [blocked], ui=reported(why))


def default_scores(measured: UncertaintyMap) -> list[float]:
    """One score for each image of a map: what the output ``scores`` gives."""
    scores: list[float] = measured.score(measured.default).value.tolist()
    return scores


def check_latent_image(latent_image: dict) -> None:
    """Raise ValueError for latents that cannot be measured."""
    for samples in packed_latents.parts(latent_image["samples"]):
        node_inputs.check_latents("latent_image", samples)


def image_indices(latent_image: dict) -> Sequence[int]:
    """Index of each image in the batch that it was created in."""
    given = latent_image.get("batch_index")
    if given is None or not len(given):
        return range(packed_latents.count(latent_image["samples"]))
    return [whole("batch_index", index) for index in given]
