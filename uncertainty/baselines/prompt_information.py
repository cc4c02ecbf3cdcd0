"""Prompt information: by how much the prompt explains an image better than no prompt does.

Noise of a level at which shapes form is added to the image. If the model restores the image from it much better with the prompt
than without, the image shows what the prompt says. Without its prompt, every image of a model is restored equally well or badly
because of its own detail, so what is left does not depend on how busy the image is.

    I = 1 - Σ_i ‖x̂0_c(x̂ⁱ) - x̂0‖² / Σ_i ‖x̂0_u(x̂ⁱ) - x̂0‖²,  x̂ⁱ = a·x̂0 + b·nⁱ

The difference of the two errors, integrated over all noise levels, is the pointwise information between image and prompt (Kong et
al. 2024, arXiv 2310.07972, Eq. 5); Diffusion Classifier compares prompts by the first (Li et al. 2023, arXiv 2303.16203). Chosen
here: one level, the ratio, and M orthogonal probes.
"""

from torch import Tensor

from ..estimators import mean_over_elements
from ..noising import per_image
from .baseline import Baseline

BASELINE = Baseline(
    name="prompt_information",
    label="Prompt information",
    meaning=(
        "How much better the prompt explains the nearly finished image than the negative prompt does. High means that the image "
        "likely shows what was asked for. Costs M evaluations of both prompts, and needs a whole sampling."
    ),
    high_is_sure=True,
    switched=True,
    measured_by="turn prompt_information on in Uncertainty Baselines",
)

# Parts of the schedule. At the later one, as in the confirming run (docs/evidence/confirming.md), x̂0 is nearly the finished
# image. Noise of the earlier one, where shapes form, is added to it.
IMAGE, LEVEL = 0.85, 0.15


def image_step(steps: int) -> int:
    """The step of a schedule of so many steps whose x̂0 is the image."""
    return int(IMAGE * steps)


def level_step(step: int, steps: int) -> int:
    """The step of a schedule of so many steps whose noise level is added to the x̂0 of a step: an earlier one, or this one.

    Never step 0, at which a flow model sees pure noise, unless x̂0 is that of step 0.
    """
    return min(step, max(1, round(LEVEL * steps)))


def information(prompted: Tensor, unprompted: Tensor, denoised: Tensor, mask: Tensor | None = None) -> Tensor:
    """The map of the information, (B, C, *spatial); its mean inside the mask is I.

    Args:
        prompted: x̂0 of M probes under the prompt, (M, B, C, *spatial).
        unprompted: the same without it.
        denoised: the image, (B, C, *spatial).
        mask: where the image was sampled, (B, 1, *spatial), or None for everywhere.
    """
    with_prompt, without = ((each - denoised).square().mean(0) for each in (prompted, unprompted))
    return (without - with_prompt) / per_image(mean_over_elements(without, mask), denoised.ndim)
