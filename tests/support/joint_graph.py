"""The guidance gradient computed directly, as the reference for the pack's memory-saving computation."""

from typing import Any

import torch


def joint_gradient(score: Any, probes: Any) -> torch.Tensor:
    """∂(Σ U)/∂ε through one graph over all probes, which takes too much memory for real models."""
    with torch.enable_grad(), torch.autograd.graph.allow_mutation_on_saved_tensors():
        b = probes.noising.b.clone().reshape(-1, *[1] * (probes.center.ndim - 1))
        noise, sigma = probes.noise.clone(), probes.sigma.clone()
        x = probes.perturbed[0].clone() - b * (noise[0] - probes.center.clone())
        epsilon = probes.center.clone().requires_grad_()
        scores = torch.stack([score(x + b * (n - epsilon), sigma) for n in noise])
        total = (scores - scores.mean(0)).square().sum() / probes.degrees
        return torch.autograd.grad(total, epsilon)[0]
