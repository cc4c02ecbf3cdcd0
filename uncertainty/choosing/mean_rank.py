"""Several scores of images in one: the mean of an image's ranks by each of them.

Ranks need no common scale and no weights. They make sense among images that compare: of one prompt.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..metrics.ranking import ranks
from ..scores import badness


def mean_rank(scores: Tensor, others: Sequence[Tensor], reject: str) -> Tensor:
    """The mean over all scores of the rank of each image among these images, from 0 to 1, in the shape of ``scores``.

    It runs in the direction of ``scores``, so that the same end is bad: if ``reject`` is ``highest``, 0 is the best image by all
    scores and 1 the worst, otherwise the reverse. Equal scores share their mean rank. An image whose score is not finite is not
    ranked, and its mean rank is NaN.

    Args:
        scores: scores of the images, (N,).
        others: further scores, finite, with the sign that makes high bad, each (N,).
        reject: the bad end of ``scores``.
    """
    valid = scores.isfinite()
    columns = [badness(scores[valid], reject), *(other[valid] for other in others)]
    worse = torch.stack([ranks(column) for column in columns]).mean(0) / max(1, int(valid.sum()) - 1)
    found = torch.full(scores.shape, torch.nan, dtype=torch.float64)
    found[valid] = worse if reject == "highest" else 1 - worse
    return found.to(scores)
