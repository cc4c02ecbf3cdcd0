"""Maps as pictures."""

import pytest
import torch

from uncertainty.images import heatmaps


def test_colour_tables_run_from_dark_to_bright() -> None:
    for name in ("magma", "inferno", "viridis"):
        brightness = heatmaps.colormap(name).mean(1)
        assert brightness[0] < 0.25 and brightness[-1] > 0.5 and (brightness.diff() > -0.01).all()


@pytest.mark.parametrize("shape", [(2, 4, 6, 5), (2, 4, 3, 6, 5), (2, 4, 7)])
def test_every_latent_shape_becomes_pictures(shape: tuple[int, ...]) -> None:
    pictures = heatmaps.as_pictures(torch.rand(shape))
    assert pictures.ndim == 3
    assert pictures.numel() == torch.Size(shape).numel() // 4


def test_normalization_by_image_batch_and_unit() -> None:
    pictures = torch.stack([torch.linspace(0, 1, 100), torch.linspace(0, 10, 100)]).reshape(2, 10, 10)
    by_image = heatmaps.normalize(pictures, "image")
    assert by_image.flatten(1).max(1).values.tolist() == [1.0, 1.0]
    by_batch = heatmaps.normalize(pictures, "batch")
    assert by_batch[0].max() < 0.2 and by_batch[1].max() == 1.0
    assert torch.equal(heatmaps.normalize(pictures, "absolute")[0], pictures[0])


def test_a_range_leaves_out_the_extremes_and_serves_any_size() -> None:
    picture = torch.arange(10_000.0).reshape(1, 100, 100)
    low, high = heatmaps.value_range(picture, "image")
    assert (low.item(), high.item()) == (100, 9899)
    larger = heatmaps.scaled(heatmaps.resize(picture, 200, 200), low, high)
    assert larger.min() == 0 and larger.max() == 1
    middle = heatmaps.scaled(torch.full((1, 1, 1), (100 + 9899) / 2), low, high)
    assert middle.item() == pytest.approx(0.5)


def test_flat_and_broken_maps_are_drawn() -> None:
    flat = heatmaps.normalize(torch.full((1, 4, 4), 3.0), "image")
    assert torch.isfinite(flat).all()
    broken = heatmaps.normalize(torch.tensor([[[float("nan"), 1.0], [float("inf"), 0.0]]]), "image")
    assert torch.isfinite(broken).all()
    assert heatmaps.colorize(broken, "magma").shape == (1, 2, 2, 3)


def test_overlay_is_the_image_in_grey_at_zero_and_the_heatmap_at_one() -> None:
    images = torch.rand(1, 4, 4, 3)
    heat = heatmaps.colorize(torch.rand(1, 4, 4), "turbo")
    assert torch.equal(heatmaps.overlay(images, heat, 1.0), heat)
    grey = heatmaps.overlay(images, heat, 0.0)
    assert torch.allclose(grey[..., 0], grey[..., 2])


def test_unknown_names_are_named() -> None:
    with pytest.raises(ValueError, match="colormap must be one of .*got 'jet'"):
        heatmaps.colormap("jet")
    with pytest.raises(ValueError, match="normalize must be one of .*got 'max'"):
        heatmaps.normalize(torch.zeros(1, 1, 1), "max")
