"""CFG-Rejection: images are likely bad if the prompt hardly changed the prediction in the first steps (arXiv 2505.23343).

Wang, Tang & Chang, "Diffusion Sampling Path Tells More: An Efficient Plug-and-Play Strategy for Sample Filtering", 2025: the
accumulated score differences (ASD) between conditional and unconditional prediction, summed from the first step T to a step τ,
are high where the distribution is dense. Images with low ASD are rejected. Classifier-free guidance already computes both
predictions, so no evaluation is added.

The abstract and the summaries that were available leave some details open. Chosen here: the difference of a step is the Euclidean
norm of the difference of the noise predictions, divided by the square root of the number of elements; all steps have equal
weight; τ is at 30 % of the schedule.
"""

from torch import Tensor

from ..noising import per_image
from ..window import Window
from .baseline import Baseline

BASELINE = Baseline(
    name="cfg_rejection",
    label="CFG-Rejection",
    meaning=(
        "How much the prompt changes the prediction over the first 30 % of the steps. High means that the image is probably "
        "good. Costs nothing; needs cfg other than 1."
    ),
    high_is_sure=True,
    switched=True,
    measured_by="turn cfg_rejection on in Uncertainty Baselines",
)

EARLY = Window(0.0, 0.3)


def squared_difference(conditional: Tensor, unconditional: Tensor, ratio: Tensor) -> Tensor:
    """``(ε(x, c) - ε(x))²`` of each element; the root of its mean is the contribution of one step.

    Args:
        conditional: denoised image with the prompt, (B, C, *spatial).
        unconditional: denoised image without the prompt, same shape.
        ratio: a/b of the noise level, (B,), which converts differences of denoised images to differences of ε.
    """
    return (per_image(ratio, conditional.ndim) * (conditional - unconditional)).square()
