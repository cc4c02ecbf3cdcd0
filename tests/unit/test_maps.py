"""The value that travels: scores, masks, selection."""

import pytest
import torch
from torch import Tensor

from uncertainty import PROBED, UncertaintyMap


def example(shape: tuple[int, ...] = (3, 4, 5), mask: Tensor | None = None) -> UncertaintyMap:
    rng = torch.Generator().manual_seed(0)
    return UncertaintyMap(
        quantities={name: torch.rand(2, 4, *shape, generator=rng) for name in PROBED},
        standard_errors={name: torch.tensor([[3.0] * 4, [4.0] * 4]) for name in PROBED},
        steps=(7, 8),
        total_steps=10,
        sigmas=torch.tensor([0.5, 0.2]),
        mask=mask,
        settings={"samples": 5},
    )


@pytest.mark.parametrize("shape", [(4, 16), (3, 4, 5), (4, 2, 3, 5)])
def test_score_is_the_mean_over_elements_summed_over_steps(shape: tuple[int, ...]) -> None:
    found = example(shape)
    expected = found.values.flatten(2).mean(2).sum(0)
    score = found.score("score_variance")
    torch.testing.assert_close(score.value, expected)
    assert score.standard_error.tolist() == [5.0] * 4
    torch.testing.assert_close(found.score("score_variance", [8]).value, found.values[1].flatten(1).mean(1))


@pytest.mark.parametrize("shape", [(4, 16), (3, 4, 5), (4, 2, 3, 5)])
def test_score_counts_only_inside_the_mask(shape: tuple[int, ...]) -> None:
    mask = torch.zeros(4, 1, *shape[1:])
    mask[..., :3] = 1
    found = example(shape, mask)
    torch.testing.assert_close(found.score("score_variance").value, found.values[..., :3].flatten(2).mean(2).sum(0))


def test_selecting_keeps_images_with_their_numbers() -> None:
    found = example(mask=torch.ones(4, 1, 4, 5))
    chosen = found.select([3, 1])
    assert chosen.images == 2 and chosen.mask is not None and len(chosen.mask) == 2
    torch.testing.assert_close(chosen.score().value, found.score().value[[3, 1]])
    assert chosen.settings == found.settings


def test_a_map_cannot_be_changed() -> None:
    found = example()
    with pytest.raises(AttributeError):
        found.total_steps = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.settings["samples"] = 9  # type: ignore[index]


def test_bad_requests_are_named() -> None:
    with pytest.raises(ValueError, match="quantity must be one of .*got 'variance'"):
        example().score("variance")
    with pytest.raises(ValueError, match=r"steps must be among the recorded steps \[7, 8\], got \[6\]"):
        example().score(steps=[6])


def test_a_quantity_that_an_earlier_version_did_not_measure_is_absent() -> None:
    everything = example()
    parts = {name: getattr(everything, name) for name in ("steps", "total_steps", "sigmas")}
    earlier = UncertaintyMap(
        {name: values for name, values in everything.quantities.items() if name != "denoised_variance"},
        {name: values for name, values in everything.standard_errors.items() if name != "denoised_variance"},
        **parts,
    )
    assert torch.equal(earlier.select([1]).values, everything.values[:, [1]])
    with pytest.raises(ValueError, match="this map has no denoised_variance: the version that made it did not measure it"):
        earlier.score()
    with pytest.raises(ValueError, match="must have a quantity, but nothing was measured"):
        UncertaintyMap({}, {}, **parts)
