"""Tiles are found where they were cut."""

import pytest
import torch
from torch import Tensor

from uncertainty.placing import place


@pytest.fixture
def whole() -> Tensor:
    """A latent of one image, random and smooth like those of images."""
    noise = torch.randn(1, 4, 40, 56, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2)


@pytest.mark.parametrize(("column", "row"), [(0, 0), (40, 24), (17, 5), (0, 24)])
def test_a_cut_is_found(column: int, row: int, whole: Tensor) -> None:
    tile = whole[..., row : row + 16, column : column + 16]
    assert place(tile, whole) == (column, row)
    noise = torch.randn(tile.shape, generator=torch.Generator().manual_seed(1))
    assert place(tile + 0.3 * tile.std() * noise, whole) == (column, row)
    assert place(tile + 5.0, whole + 5.0) == (column, row)


def test_a_cut_of_videos_and_of_batches_is_found() -> None:
    whole = torch.randn(2, 4, 3, 24, 32, generator=torch.Generator().manual_seed(2))
    assert place(whole[..., 3:11, 7:31], whole) == (7, 3)
    assert place(whole[:1, ..., 3:11, 7:31], whole) is None  # one image of two


def test_the_whole_lies_at_its_corner(whole: Tensor) -> None:
    assert place(whole, whole) == (0, 0)


def test_what_was_not_cut_from_it_is_not_found(whole: Tensor) -> None:
    other = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    assert place(other, whole) is None
    cut = whole[..., 4:20, 4:20]
    assert place(torch.nn.functional.interpolate(cut, scale_factor=1.5), whole) is None
    assert place(torch.zeros(1, 4, 48, 16), whole) is None  # higher
    assert place(torch.zeros(1, 16, 8, 8), whole) is None  # of another model
    assert place(whole[0, ..., 4:20], whole[0]) is None  # sound has no rows


def test_a_cut_that_fits_at_several_places_is_not_placed(whole: Tensor) -> None:
    cut = whole[..., :16, :16]
    twice = torch.cat([cut, cut], -1)
    assert place(cut, twice) is None
    assert place(torch.full((1, 4, 8, 8), 3.0), torch.full((1, 4, 32, 32), 3.0)) is None
    empty = torch.zeros(1, 4, 8, 8)
    assert place(empty, whole) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nothing_is_placed_beside_numbers_that_are_not_finite(whole: Tensor, value: float) -> None:
    cut, broken = whole[..., 4:20, 4:20].clone(), whole.clone()
    broken[0, 0, 0, 0] = value
    assert place(cut, broken) is None
    cut[0, 0, 0, 0] = value
    assert place(cut, whole) is None
