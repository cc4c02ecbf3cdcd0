"""Gradient of a summed quantity with respect to the noise prediction (paper Eq. 10), without a graph over M networks.

With ``Jⁱ = ∂ε/∂x`` at ``x̂ⁱ = x + b·(nⁱ - ε)``, so that ``∂eⁱ/∂ε = -b·Jⁱ``:

    ∂(Σ U)/∂ε = -b · Σ_i (Jⁱ)ᵀ cⁱ,  cⁱ = ∂(Σ U)/∂eⁱ

    score_variance     U = Var_i(eⁱ)               cⁱ = 2·(eⁱ - ē)/(M - 1)
    denoised_variance  U = (b/a)²·Var_i(eⁱ - nⁱ)   cⁱ = (b/a)²·2·(dⁱ - d̄)/(M - 1),  dⁱ = eⁱ - nⁱ

The probe noise nⁱ does not depend on ε, so it changes the weights cⁱ and nothing else. (With orthogonal probes the divisor is M
instead of M - 1, as in their variance.)

``exact_gradient`` computes one vector-Jacobian product per probe, with the graph of the measurement if that was kept. The
Jacobian of an ideal noise prediction is symmetric (``J = -σ ∇² log p``), so ``forward_only_gradient`` computes ``Jⁱ cⁱ`` instead,
by central differences along cⁱ. Its accuracy depends on how close the network is to a gradient field: a rough direction for
trained networks (docs/method.md has figures), meaningless for untrained ones. Sums run over the elements of each image, so images
do not influence each other.
"""

import torch
from torch import Tensor

from .choices import check_choice
from .noising import per_image
from .probes import BothScores, Denoiser, Probes, ratio_squared, score_probes
from .quantities import denoised_variance, score_variance
from .saved_tensors import written_over

GRADIENTS = ("auto", "exact", "forward_only")
GUIDED_QUANTITIES = (score_variance.QUANTITY.name, denoised_variance.QUANTITY.name)
"""The quantities that can guide, the paper's first."""

# Step length of the central difference, rms over elements, in units of the noise or of the image, whichever is smaller. In half
# precision, rounding errors dominate for smaller steps at low noise, and curvature for larger ones. Chosen with
# benchmarks/gradients.py.
DIFFERENCE_STEP = 1.0

# Weight of the latest gradient in the running average of a run. Chosen with benchmarks/gradients.py.
LATEST = 0.5


def average_gradient(before: Tensor | None, latest: Tensor) -> Tensor:
    """Running average over the calls of a run: the gradient changes slowly from step to step, but its noise is independent.

    Restarts from the latest gradient if there is no earlier one, if the batch changed, and at elements that were not finite.
    """
    if before is None or before.shape != latest.shape:
        return latest
    return torch.where(before.isfinite(), torch.lerp(before, latest, LATEST), latest)


def _weights(probes: Probes, quantity: str) -> Tensor:
    """cⁱ, shape (M, B, C, *spatial).

    Raises:
        ValueError: the quantity is not one of ``GUIDED_QUANTITIES``.
    """
    check_choice("guided_quantity", quantity, GUIDED_QUANTITIES)
    if quantity == score_variance.QUANTITY.name:
        return 2 * (probes.scores - probes.scores.mean(0)) / probes.degrees
    differences = probes.scores - probes.noise
    return ratio_squared(probes) * 2 * (differences - differences.mean(0)) / probes.degrees


class KeptGraph:
    """The graph of the probes' forward pass, which their gradient then needs no second time. It holds all their activations.

    To be used outside inference mode; within ``written_over`` for networks that write over saved activations. Without it,
    autograd refuses them, unless they write through ``.data``.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[Tensor, Tensor]] = []

    def watching(self, both: BothScores) -> BothScores:
        """Predicts like ``both`` and keeps the graph; forgets what was kept before."""
        self.forget()

        def watched(z: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                points = z.detach().clone().requires_grad_()
                # A clone, because autograd saves the noise level and cannot save what was made in inference mode.
                scores, conditional = both(points, sigma.clone())
            self._calls.append((points, scores))
            return scores.detach(), conditional.detach()

        return watched

    def forget(self) -> None:
        """Free the graph."""
        self._calls.clear()

    def products(self, weights: Tensor) -> Tensor:
        """Σ_i (Jⁱ)ᵀ cⁱ, (B, C, *spatial), for the weights cⁱ of the watched probes, (M, B, C, *spatial). Frees the graph."""
        total = torch.zeros_like(weights[0])
        rows = torch.split(weights.flatten(0, 1), [len(points) for points, _ in self._calls])
        while self._calls:
            points, predicted = self._calls.pop()
            chunk = rows[len(self._calls)]
            (products,) = torch.autograd.grad(predicted, points, chunk.to(predicted))
            total += products.reshape(-1, *total.shape).sum(0)
        return total


def exact_gradient(
    score: Denoiser,
    probes: Probes,
    probes_at_once: int = 1,
    quantity: str = score_variance.QUANTITY.name,
    kept: KeptGraph | None = None,
) -> Tensor:
    """∂(Σ U)/∂ε, shape (B, C, *spatial).

    Must be called outside inference mode, and the network's parameters must be ordinary tensors, not inference tensors.

    Args:
        score: noise prediction, evaluated again with a graph.
        probes: probes of the model call.
        probes_at_once: of how many probes the activations are held.
        quantity: one of ``GUIDED_QUANTITIES``.
        kept: the graph of the probes' own forward pass, used instead of ``score``.
    """
    weights = _weights(probes, quantity)
    total = _products(score, probes, weights, probes_at_once) if kept is None else kept.products(weights)
    return -per_image(probes.noising.b, total.ndim) * total


def _products(score: Denoiser, probes: Probes, weights: Tensor, probes_at_once: int) -> Tensor:
    """The same sum as ``KeptGraph.products``, with a forward pass of its own."""

    def both(z: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        predicted = score(z, sigma)
        return predicted, predicted

    total = torch.zeros_like(probes.center)
    chunks = zip(torch.split(probes.perturbed, probes_at_once), torch.split(weights, probes_at_once), strict=True)
    for points, weighted in chunks:
        graph = KeptGraph()
        # Many networks (Flux, ControlNets) add to saved activations in place.
        with written_over():
            graph.watching(both)(points.flatten(0, 1), probes.sigma.repeat(len(points)))
            total += graph.products(weighted)
    return total


def forward_only_gradient(
    score: Denoiser,
    probes: Probes,
    probes_per_call: int | None = None,
    step: float = DIFFERENCE_STEP,
    quantity: str = score_variance.QUANTITY.name,
) -> Tensor:
    """∂(Σ U)/∂ε under the assumption that J is symmetric, shape (B, C, *spatial): 2·M forward passes, no backward pass.

    With the rms rᵢ of cⁱ over an image and s = h·min(a, b), ``Jⁱcⁱ ≈ rᵢ·(ε(x̂ⁱ + s·cⁱ/rᵢ) - ε(x̂ⁱ - s·cⁱ/rᵢ)) / (2·s)``.

    Args:
        score: noise prediction.
        probes: probes of the model call.
        probes_per_call: number of evaluations per call of the network; None for all.
        step: h, the rms of the displacement. Smaller steps reduce curvature errors, larger ones rounding errors.
        quantity: one of ``GUIDED_QUANTITIES``.
    """
    weights = _weights(probes, quantity)
    size = weights.square().mean(tuple(range(2, weights.ndim)), keepdim=True).sqrt()
    a, b = (per_image(value, probes.center.ndim) for value in (probes.noising.a, probes.noising.b))
    length = step * torch.minimum(a, b)
    offset = length * weights / size.clamp(min=torch.finfo(size.dtype).tiny)
    ends = torch.cat([probes.perturbed + offset, probes.perturbed - offset])
    after, before = score_probes(score, ends, probes.sigma, probes_per_call).chunk(2)
    return -b * (size * (after - before)).sum(0) / (2 * length)
