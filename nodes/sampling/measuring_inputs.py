"""What the nodes that measure or guide share: their last inputs and outputs, and what becomes of a run."""

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph import ExecutionBlocker

from .. import node_inputs
from ..choosing import ledger_access
from ..hook.sampling_hook import UncertaintyRun


def inputs(strength: float = 0.0) -> list[io.Input]:
    """The inputs every one of these nodes ends with.

    Args:
        strength: default; nothing was shown to be better on the demo model than to leave images alone (docs/evidence.md).
    """
    return [
        io.Int.Input(
            "samples",
            default=5,
            min=2,
            max=64,
            tooltip="M: how many noisy copies are denoised at each step of the window. More is slower and less noisy.",
        ),
        io.Float.Input(
            "strength",
            default=strength,
            min=-100.0,
            max=100.0,
            step=0.1,
            round=0.001,
            tooltip=(
                "λ: how strongly uncertain elements are pushed. 0 pushes nothing: every bit of the image stays what it was. The "
                "paper takes 1 in the window 0.90 to 0.98, which cannot be seen on the demo model; there, -10 in the window 0.5 "
                "to 0.58 brought images nearer to their prompt, and 10 farther away."
            ),
        ),
        io.Float.Input(
            "percentile",
            default=95.0,
            min=0.0,
            max=100.0,
            step=0.5,
            round=0.01,
            tooltip="p: elements whose uncertainty lies above this percentile of their image are guided.",
        ),
        *node_inputs.window_inputs(0.90, 0.98, "Steps i with start ≤ i/steps < end are measured and guided."),
        node_inputs.Thresholds.Input(
            "thresholds", optional=True, tooltip="Calibrated thresholds per step, used instead of the percentile."
        ),
        node_inputs.Options.Input("options", optional=True, tooltip="Estimator and guidance details; may stay empty."),
    ]


def outputs() -> list[io.Output]:
    """What every measuring sampler gives after its latents."""
    return [
        node_inputs.Uncertainty.Output("uncertainty", display_name="UNCERTAINTY", tooltip="Maps of every recorded step."),
        io.Float.Output(
            "scores",
            display_name="scores",
            is_output_list=True,
            tooltip="One score an image (denoised_variance summed over the recorded steps): high means unsure.",
        ),
    ]


def results(run: UncertaintyRun, sampler: str) -> tuple[Any, list[Any]]:
    """Values of these outputs. A finished image survives a map that cannot be had: only the map and the scores are blocked."""
    if run.recorded.steps:
        measured = run.uncertainty_map()
        # Here, where every image passes, saved or not: all of them belong to what is usual.
        ledger_access.record(measured)
        return measured, measured.score().value.tolist()
    nothing = ExecutionBlocker(
        "The image is finished, but has no uncertainty map: no model call fell into the window. Check steps, denoise, "
        f"window_start and window_end, or take another sampler than {sampler}."
    )
    return nothing, [nothing]


def check_latents(latent_image: dict, instead: str) -> None:
    """Refuse latents that cannot be measured, naming the node to use ``instead``."""
    samples = latent_image["samples"]
    if samples.is_nested:
        raise ValueError(f"latent_image packs several latents (video with sound), which cannot be measured yet: use {instead}.")
    node_inputs.check_latents("latent_image", samples)


def image_indices(latent_image: dict) -> Sequence[int]:
    """Index of each image in the batch it was made for."""
    return latent_image.get("batch_index") or range(len(latent_image["samples"]))
