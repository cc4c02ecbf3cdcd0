"""Denoising loss of the image under its prompt: how far the model, given only the prompt, misses the image it made.

    L = E_n‖x̂0_c(a·x̂0 + b·n) - x̂0‖² = (b/a)²·E_n‖n - ε_c‖²,  per element

It is the noise level's term of the ELBO of x̂0 under the prompt (Ho et al. 2020, arXiv 2006.11239, Eq. 12; Kingma et al. 2021,
arXiv 2107.00630, Eq. 14), which Diffusion Classifier ranks prompts by (Li et al. 2023, arXiv 2303.16203). It is the variance of
the conditional predictions plus the squared distance of their mean from x̂0, the error that a variance does not see.

Its map is not smoothed: the distance has no Monte-Carlo noise but much detail, also small spots that x̂0 does not show.
"""

from torch import Tensor

from ..probes import Probes, ratio_squared
from .quantity import ProbedQuantity


def terms(probes: Probes) -> Tensor:
    """The squared error of each probe."""
    return ratio_squared(probes) * (probes.noise - probes.prompted).square()


def plain(probes: Probes) -> Tensor:
    """Their mean."""
    return terms(probes).mean(0)


QUANTITY = ProbedQuantity(
    name="denoising_loss",
    label="Prompt fit",
    meaning="How far the prompt alone leads away from the image when noise is added and removed again. High means unsure.",
    high_is_sure=False,
    color="#7fd962",
    plain=plain,
    terms=terms,
    centred=False,
    smoothed=False,
)
