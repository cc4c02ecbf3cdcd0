"""Algorithm 2 of the paper (Eq. 10): move the noise prediction along the uncertainty gradient where uncertainty is highest.

With U the guided quantity (in the paper ``score_variance``, the uncertainty of Algorithm 1) and λ the strength:

    mask = U > percentile(U, p)
    ε̂   = ε + λ · mask · ∂(Σ U)/∂ε
    x̂0' = (x - b·ε̂) / a = x̂0 - (b/a) · λ · mask · ∂(Σ U)/∂ε
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .estimation import Estimate, estimate
from .estimators import DEFAULT_ESTIMATOR
from .gradients import GUIDED_QUANTITIES, exact_gradient
from .noising import Noising, per_image, variance_exploding
from .probes import Denoiser, Probes

MASK_SCOPES = ("image", "channel")
MASK_SIDES = ("high", "low")


def percentile_per_image(values: Tensor, percentile: float, mask: Tensor | None = None) -> Tensor:
    """Linearly interpolated percentile of each image, shape (B,), for any number of elements.

    Uses order statistics, because ``torch.quantile`` rejects more than 2²⁴ elements.

    Args:
        values: (B, C, *spatial).
        percentile: 0 to 100.
        mask: (B, 1, *spatial); only elements where it is above 0.5 count. An image without such elements gives infinity.
    """
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile must be between 0 and 100, got {percentile}.")
    results = []
    for index, image in enumerate(values):
        elements = image.flatten() if mask is None else image[(mask[index] > 0.5).expand_as(image)]
        if elements.numel() == 0:
            results.append(values.new_tensor(torch.inf))
            continue
        position = percentile / 100 * (elements.numel() - 1)
        low = int(position)
        high = min(low + 1, elements.numel() - 1)
        ascending = elements.sort().values  # not kthvalue, which older versions of torch lack on Apple's graphics processors
        results.append(torch.lerp(ascending[low], ascending[high], position - low))
    return torch.stack(results)


def uncertain_elements(
    uncertainty: Tensor, percentile: float, mask: Tensor | None = None, *, scope: str = "image", side: str = "high"
) -> Tensor:
    """The elements to guide, boolean (B, C, *spatial).

    Args:
        uncertainty: (B, C, *spatial).
        percentile: 0 to 100.
        mask: (B, 1, *spatial); elements outside it are neither chosen nor counted.
        scope: percentile over each ``image`` or over each ``channel`` of an image.
        side: elements above (``high``) or below (``low``) the percentile.
    """
    if scope == "channel":
        channels = uncertainty.shape[1]
        alone = uncertainty.flatten(0, 1)[:, None]
        repeated = None if mask is None else mask.repeat_interleave(channels, 0)
        return uncertain_elements(alone, percentile, repeated, side=side).reshape(uncertainty.shape)
    limit = per_image(percentile_per_image(uncertainty, percentile, mask), uncertainty.ndim)
    return inside(uncertainty > limit if side == "high" else uncertainty < limit, mask)


def inside(chosen: Tensor, mask: Tensor | None) -> Tensor:
    """The chosen elements (B, C, *spatial) that are inside the mask (B, 1, *spatial)."""
    return chosen if mask is None else chosen & (mask > 0.5)


def random_direction(gradient: Tensor, chosen: Tensor, noise: Tensor) -> Tensor:
    """A control for experiments: for each image, ``noise`` scaled to the gradient's norm over the chosen elements.

    Args:
        gradient: (B, C, *spatial).
        chosen: the guided elements, same shape.
        noise: standard normal, same shape.
    """
    length, drawn = (torch.where(chosen, values, 0).flatten(1).norm(dim=1) for values in (gradient, noise))
    return per_image(length / drawn.clamp(min=torch.finfo(drawn.dtype).tiny), noise.ndim) * noise


def random_elements(chosen: Tensor, noise: Tensor, mask: Tensor | None = None) -> Tensor:
    """A control for experiments: in each image, as many elements as are chosen but at random places, (B, C, *spatial) boolean.

    Args:
        chosen: the elements that would be guided.
        noise: standard normal, same shape; the elements with the highest values are taken.
        mask: (B, 1, *spatial); elements outside it are not taken.
    """
    allowed = noise if mask is None else torch.where((mask > 0.5).expand_as(noise), noise, -torch.inf)
    places = allowed.flatten(1).argsort(dim=1, descending=True).argsort(dim=1)
    return (places < chosen.flatten(1).sum(1, keepdim=True)).reshape(chosen.shape)


@dataclass(frozen=True)
class Update:
    """Result of the update of Algorithm 2.

    Attributes:
        denoised: the guided x̂0', (B, C, *spatial). Elements that were not chosen are unchanged, bit for bit.
        chosen: the guided elements, boolean, same shape.
        gradient: ∂(Σ U)/∂ε of all elements, same shape; None if no element was chosen.
    """

    denoised: Tensor
    chosen: Tensor
    gradient: Tensor | None


def update(
    denoised: Tensor,
    measured: Estimate,
    strength: float,
    choose: Callable[[Tensor], Tensor],
    differentiate: Callable[[Probes], Tensor],
    control: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    quantity: str = GUIDED_QUANTITIES[0],
) -> Update:
    """The update of Algorithm 2 (Eq. 10).

    Args:
        denoised: x̂0, (B, C, *spatial).
        measured: uncertainty of this call.
        strength: λ; negative values descend the gradient.
        choose: maps uncertainty to the elements to guide.
        differentiate: computes ∂(Σ U)/∂ε from the probes. Not called if no element is chosen.
        control: for experiments, replaces the chosen elements and the gradient.
        quantity: U, whose elements are chosen: the one that ``differentiate`` differentiates.
    """
    chosen = choose(measured.quantities[quantity])
    if not bool(chosen.any()):
        return Update(denoised, chosen, None)
    gradient = differentiate(measured.probes)
    if control is not None:
        chosen, gradient = control(chosen, gradient)
    noising = measured.probes.noising
    step = per_image(noising.b / noising.a, denoised.ndim) * strength * gradient
    return Update(torch.where(chosen, denoised - step.to(denoised), denoised), chosen, gradient)


@dataclass(frozen=True)
class Guided:
    """One guided model call.

    Attributes:
        noise_prediction: the guided ε̂, shape (B, C, *spatial).
        denoised: x̂0', the denoised image that ε̂ implies.
        mask: the guided elements, boolean.
        gradient: ∂(Σ U)/∂ε of all elements.
        estimate: the measured uncertainty.
    """

    noise_prediction: Tensor
    denoised: Tensor
    mask: Tensor
    gradient: Tensor
    estimate: Estimate


def guide(
    score: Denoiser,
    x: Tensor,
    sigma: Tensor,
    *,
    noising: Callable[[Tensor], Noising] = variance_exploding,
    samples: int = 5,
    seed: int = 0,
    noise: Tensor | None = None,
    strength: float = 1.0,
    percentile: float = 95.0,
    estimator: str = DEFAULT_ESTIMATOR,
    quantity: str = GUIDED_QUANTITIES[0],
    probes_per_call: int | None = None,
) -> Guided:
    """One step of guided sampling (the paper's Algorithm 2): ascend the uncertainty gradient on the most uncertain elements.

    Args:
        score: noise prediction ``ε(x, σ)``, differentiable in x.
        x: noisy latents, shape (B, C, *spatial).
        sigma: noise level, a scalar tensor or shape (B,).
        noising: as for ``estimate``.
        samples: M, at least 2.
        seed: seed of the probe noise.
        noise: probe noise, as for ``estimate``.
        strength: λ; negative values descend the gradient.
        percentile: 0 to 100; elements above it are guided.
        estimator: estimator of the uncertainty that decides which elements are guided.
        quantity: one of ``GUIDED_QUANTITIES``: the uncertainty that is followed and decides which elements are guided.
        probes_per_call: as for ``estimate``.

    Raises:
        ValueError: as for ``estimate``, the percentile is outside 0 to 100, or the quantity cannot guide.
    """
    sigma = sigma.expand(len(x)) if sigma.ndim == 0 else sigma
    with torch.no_grad():
        measured = estimate(
            score, x, sigma, noising=noising, samples=samples, seed=seed, noise=noise, estimator=estimator,
            probes_per_call=probes_per_call,
        )  # fmt: skip
    probes = measured.probes
    gradient = exact_gradient(score, probes, quantity=quantity)
    changed = update(
        probes.noising.denoised(x, probes.center),
        measured,
        strength,
        choose=lambda uncertainty: uncertain_elements(uncertainty, percentile),
        differentiate=lambda probes: gradient,
        quantity=quantity,
    )
    prediction = torch.where(changed.chosen, probes.center + strength * gradient, probes.center)
    return Guided(prediction, changed.denoised, changed.chosen, gradient, measured)
