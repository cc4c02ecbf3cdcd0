"""The runs of this pack that take part in one sampling: several nodes may measure or guide it."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from comfy.patcher_extension import WrappersMP

from .probe_options import KEY

if TYPE_CHECKING:
    from .sampling_hook import UncertaintyRun

log = logging.getLogger(__name__)


def attached_runs(model_options: Mapping[str, Any]) -> "list[UncertaintyRun]":
    """The runs that are attached to the options of a sampling, in order."""
    wrappers = model_options.get("transformer_options", {}).get("wrappers", {})
    return [sample.__self__ for sample in wrappers.get(WrappersMP.SAMPLER_SAMPLE, {}).get(KEY, [])]


def say_if_measured_again(runs: "Sequence[UncertaintyRun]", steps: int) -> None:
    """Say in the log if several of these runs evaluate the model for their maps, in a sampling of so many steps."""
    costs = [run.settings.samples * len(run.settings.window.steps(steps)) for run in runs if run.records and run.settings.samples]
    if len(costs) > 1:
        log.warning(
            "this sampling is measured %d times, for which each image costs at least %d more model evaluations, because a node "
            "that measures is connected to a model that Record Uncertainty already records: connect it to the model before "
            "Record Uncertainty.",
            len(costs),
            sum(costs[1:]),
        )
