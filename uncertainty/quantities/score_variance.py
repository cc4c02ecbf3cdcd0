"""Variance of the noise prediction over the probes: the map of the paper (Eq. 8).

    U = Var_i(eⁱ) ≈ b²·diag(J Jᵀ) = diag((I - (a/b)²·C)²),  J the Jacobian of ε, C = Cov[x0 | x_t]

It is 1 where the model is certain and falls as the posterior variance rises, until (a/b)²·C has an eigenvalue above 1. With one
above 2 it exceeds 1.
"""

from torch import Tensor

from ..probes import Probes
from .quantity import ProbedQuantity


def plain(probes: Probes) -> Tensor:
    """The unbiased sample variance."""
    return probes.scores.var(0)


def terms(probes: Probes) -> Tensor:
    """``Var(e) - Var(n) + 1`` has the same limit as ``Var(e)``, because Var(n) → 1, but far less noise (a control variate)."""
    noise, scores = probes.deviations
    return scores.square() - noise.square()


QUANTITY = ProbedQuantity(
    name="score_variance",
    label="Noise (paper)",
    meaning="How much the predicted noise varies (the paper's map). High means sure.",
    high_is_sure=True,
    color="#d39bff",
    plain=plain,
    terms=terms,
    known=1.0,
)
