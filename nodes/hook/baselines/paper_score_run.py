"""The baseline paper_score in a sampling run."""

from torch import Tensor

from ....uncertainty.baselines import paper_score
from ....uncertainty.estimation import estimate
from ....uncertainty.maps import PAPER_QUANTITY
from ..model_call import Call, stream
from .summed_score import SummedScore

_STREAM = 0x70617065  # keeps its probes independent of those of the map


class PaperScore(SummedScore):
    """The paper's score with the paper's estimator: the plain variance over independent probes."""

    name = paper_score.BASELINE.name

    def measure(self, call: Call) -> Tensor:
        """Variance of one step over as many probes as the map uses, but independent ones."""
        guided = self.settings.options.score_source == "guided"
        measured = estimate(
            call.score,
            call.x,
            call.sigma,
            noising=lambda sigma: call.level,
            samples=self.settings.samples,
            seed=stream(self.settings.seed, _STREAM, call.step),
            center=call.level.noise_prediction(call.x, call.denoised) if guided else None,
            estimator="paper",
            probes_per_call=call.probes_per_call,
            parts=call.parts,
        )
        return measured.quantities[PAPER_QUANTITY]
