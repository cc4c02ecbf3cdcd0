"""Masks of the uncertain parts."""

import pytest
import torch
from torch import Tensor

from uncertainty.images.masks import parse_steps, uncertain_parts


def spot(size: int = 21) -> Tensor:
    """A single uncertain pixel in the middle."""
    picture = torch.zeros(1, size, size)
    picture[0, size // 2, size // 2] = 1
    return picture


@pytest.mark.parametrize(
    ("text", "steps"),
    [("", None), ("  ", None), ("45", [45]), ("45,46", [45, 46]), ("45-48", [45, 46, 47, 48]), (" 7 , 1 - 2,2", [7, 1, 2])],
)
def test_steps_are_read(text: str, steps: list[int] | None) -> None:
    assert parse_steps(text) == steps


@pytest.mark.parametrize("text", ["all", "45;46", "48-45", "-1", "1-", "4.5", ",", "1--3", "0-99999999999"])
def test_steps_that_cannot_be_read_are_named(text: str) -> None:
    with pytest.raises(ValueError, match="steps must be empty for all steps, or a list such as 45,46 or 45-48, got"):
        parse_steps(text)


@pytest.mark.parametrize("percentile", [0.0, 50.0, 75.0, 90.0, 100.0])
def test_the_percentile_decides_how_much_is_white_in_each_picture(percentile: float) -> None:
    pictures = torch.stack([torch.randperm(400).reshape(20, 20).float(), torch.arange(400.0).reshape(20, 20) - 1000])
    mask = uncertain_parts(pictures, percentile, 0, 0, (20, 20))
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    # Of 400 different values, those above position p/100·399.
    assert mask.sum((1, 2)).tolist() == [399 - int(percentile / 100 * 399)] * 2
    assert mask[1, -1, -1] == (percentile < 100) and mask[1, 0, 0] == 0


def test_growing_is_by_so_many_pixels() -> None:
    mask = uncertain_parts(spot(), 99.9, 3, 0, (21, 21))
    expected = torch.zeros(21, 21)
    expected[7:14, 7:14] = 1
    assert torch.equal(mask[0], expected)


def test_feathering_reaches_so_many_pixels_to_both_sides_and_keeps_the_edge() -> None:
    picture = torch.zeros(1, 30, 40)
    picture[..., 20:] = 1
    mask = uncertain_parts(picture, 10, 0, 4, (30, 40))
    row = mask[0, 15]
    assert torch.equal(mask[0], row.expand(30, 40))  # borders do not darken
    assert row[:16].max() == 0 and row[16] > 0 and row[23] < 1 and row[24:].min() > 1 - 1e-6
    assert (row.diff() >= 0).all()
    torch.testing.assert_close(row[19] + row[20], torch.tensor(1.0))


def test_masks_have_the_size_of_the_image() -> None:
    picture = torch.zeros(2, 6, 4)
    picture[:, :3] = 1
    mask = uncertain_parts(picture, 40, 0, 0, (48, 32))
    assert mask.shape == (2, 48, 32)
    assert mask[:, :16].min() == 1 and mask[:, 32:].max() == 0


def test_only_what_was_sampled_is_chosen_and_counted() -> None:
    picture = torch.arange(100.0).reshape(1, 10, 10)
    within = torch.zeros(1, 10, 10)
    within[:, :2] = 1  # the twenty lowest values
    mask = uncertain_parts(picture, 50, 0, 0, (10, 10), within)
    assert mask[0, 1].tolist() == [1.0] * 10 and mask.sum() == 10


def test_flat_pictures_and_what_is_no_number_stay_black() -> None:
    flat = torch.full((1, 8, 8), 3.0)
    assert uncertain_parts(flat, 50, 2, 2, (64, 64)).max() == 0
    flat[0, 0, 0] = torch.nan
    flat[0, 7, 7] = 4
    mask = uncertain_parts(flat, 50, 0, 0, (8, 8))
    assert mask[0, 0, 0] == 0 and mask[0, 7, 7] == 1
