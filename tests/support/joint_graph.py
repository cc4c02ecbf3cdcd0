"""The guidance gradient computed directly, as the reference for the pack's memory-saving computation."""

from typing import Any

import torch


def joint_gradient(score: Any, probes: Any, quantity: str = "score_variance") -> torch.Tensor:
    """∂(Σ U)/∂ε through one graph over all probes, which takes too much memory for real models.

    U is written out as its definition, of the noise predictions or of the denoised images. Some networks write over saved
    tensors in place, so all are saved as copies. (``allow_mutation_on_saved_tensors`` takes a new tensor for a freed one at the
    same address, in torch 2.13: seldom, and then the gradient is wrong.)
    """
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(torch.Tensor.clone, lambda copy: copy):
        b = probes.noising.b.clone().reshape(-1, *[1] * (probes.center.ndim - 1))
        noise, sigma = probes.noise.clone(), probes.sigma.clone()
        a = probes.noising.a.clone().reshape(b.shape)
        x = probes.perturbed[0].clone() - b * (noise[0] - probes.center.clone())
        epsilon = probes.center.clone().requires_grad_()
        perturbed = torch.stack([x + b * (n - epsilon) for n in noise])
        varying = torch.stack([score(z, sigma) for z in perturbed])
        if quantity == "denoised_variance":
            varying = (perturbed - b * varying) / a
        total = (varying - varying.mean(0)).square().sum() / probes.degrees
        return torch.autograd.grad(total, epsilon)[0]
