"""Standard errors by leaving out one probe at a time (the jackknife, Efron 1982, ch. 3)."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..probes import MIN_SAMPLES, Probes
from ..quantities import PROBED
from .estimator import Maps


def jackknife_variance(terms: Tensor, centred: bool = True) -> Tensor:
    """Variance of a sample covariance whose deviation products are ``terms`` (M, ...), or, if not ``centred``, of their mean.

    Leaving sample i out changes the covariance s to ((M - 1)·s - M/(M - 1)·termᵢ)/(M - 2). Infinite if M is 2.
    """
    count = len(terms)
    if not centred:
        return terms.var(0) / count
    if count == MIN_SAMPLES:
        return torch.full_like(terms[0], torch.inf)
    return count**2 / ((count - 1) * (count - 2) ** 2) * terms.var(0, correction=0)


def leave_one_out(maps: Callable[[Probes, Tensor | None], Maps]) -> Callable[[Probes, Tensor | None], Maps]:
    """Standard errors for any estimator, computed by running it again without each probe in turn.

    They are NaN if M is 2, because one probe has no variance.
    """

    def standard_errors(probes: Probes, mask: Tensor | None) -> Maps:
        count = len(probes.noise)
        if count == MIN_SAMPLES:
            return unknown(probes)
        means: dict[str, list[Tensor]] = {}
        for left_out in range(count):
            keep = [i for i in range(count) if i != left_out]
            for name, values in maps(probes.only(keep), None).items():
                means.setdefault(name, []).append(mean_over_elements(values, mask))
        return {name: ((count - 1) * torch.stack(m).var(0, correction=0)).sqrt() for name, m in means.items()}

    return standard_errors


def unknown(probes: Probes) -> Maps:
    """Standard errors of NaN for every quantity and image, (B,)."""
    return {name: torch.full((probes.center.shape[0],), torch.nan) for name in PROBED}


def mean_over_elements(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean per image, shape (B,), of values (B, C, *spatial), inside the mask (B, 1, *spatial) if not None."""
    if mask is None:
        return values.flatten(1).mean(1)
    weights = mask.to(values).expand_as(values).flatten(1)
    return (values.flatten(1) * weights).sum(1) / weights.sum(1)
