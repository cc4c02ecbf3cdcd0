"""Gradient of the summed score variance by the noise prediction (paper Eq. 10), one vector-Jacobian product a probe.

With ``cⁱ = 2·(eⁱ - ē)/(M - 1)`` and ``Jⁱ = ∂ε/∂x`` at ``x̂ⁱ = x + b·(nⁱ - ε)``:

    ∂(Σ U)/∂ε = -b · Σ_i (Jⁱ)ᵀ cⁱ

so no graph over M networks is needed. The sum runs over the elements of each image: images do not influence each other.
"""

import torch
from torch import Tensor

from .estimators import Probes
from .noising import per_image
from .probes import Denoiser


def exact_gradient(score: Denoiser, probes: Probes) -> Tensor:
    """∂(Σ U)/∂ε, shape (B, C, *spatial), holding the activations of one probe at a time.

    Autograd must be allowed (no inference mode) and the network's parameters must be ordinary tensors.
    """
    weights = 2 * (probes.scores - probes.scores.mean(0)) / (len(probes.scores) - 1)
    total = torch.zeros_like(probes.center)
    for point, weight in zip(probes.perturbed, weights, strict=True):
        # Many networks (Flux, ControlNets) add to saved activations in place; autograd then keeps a copy instead of refusing.
        with torch.enable_grad(), torch.autograd.graph.allow_mutation_on_saved_tensors():
            point = point.detach().clone().requires_grad_()
            predicted = score(point, probes.sigma)
            (product,) = torch.autograd.grad(predicted, point, weight.to(predicted))
        total += product
    return -per_image(probes.noising.b, total.ndim) * total
