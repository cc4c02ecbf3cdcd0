"""Maps as pictures."""

import pytest
import torch

from uncertainty import render


def test_colour_tables_run_from_dark_to_bright() -> None:
    for name in ("magma", "inferno", "viridis"):
        brightness = render.colormap(name).mean(1)
        assert brightness[0] < 0.25 and brightness[-1] > 0.5 and (brightness.diff() > -0.01).all()


@pytest.mark.parametrize("shape", [(2, 4, 6, 5), (2, 4, 3, 6, 5), (2, 4, 7)])
def test_every_latent_shape_becomes_pictures(shape: tuple[int, ...]) -> None:
    pictures = render.as_pictures(torch.rand(shape))
    assert pictures.ndim == 3
    assert pictures.numel() == torch.Size(shape).numel() // 4


def test_normalization_by_image_batch_and_unit() -> None:
    pictures = torch.stack([torch.linspace(0, 1, 100), torch.linspace(0, 10, 100)]).reshape(2, 10, 10)
    by_image = render.normalize(pictures, "image")
    assert by_image.flatten(1).max(1).values.tolist() == [1.0, 1.0]
    by_batch = render.normalize(pictures, "batch")
    assert by_batch[0].max() < 0.2 and by_batch[1].max() == 1.0
    assert torch.equal(render.normalize(pictures, "absolute")[0], pictures[0])


def test_a_range_leaves_out_the_extremes_and_serves_any_size() -> None:
    picture = torch.arange(10_000.0).reshape(1, 100, 100)
    low, high = render.value_range(picture, "image")
    assert (low.item(), high.item()) == (100, 9899)
    larger = render.scaled(render.resize(picture, 200, 200), low, high)
    assert larger.min() == 0 and larger.max() == 1
    middle = render.scaled(torch.full((1, 1, 1), (100 + 9899) / 2), low, high)
    assert middle.item() == pytest.approx(0.5)


def test_flat_and_broken_maps_are_drawn() -> None:
    flat = render.normalize(torch.full((1, 4, 4), 3.0), "image")
    assert torch.isfinite(flat).all()
    broken = render.normalize(torch.tensor([[[float("nan"), 1.0], [float("inf"), 0.0]]]), "image")
    assert torch.isfinite(broken).all()
    assert render.colorize(broken, "magma").shape == (1, 2, 2, 3)


def test_overlay_is_the_image_in_grey_at_zero_and_the_heatmap_at_one() -> None:
    images = torch.rand(1, 4, 4, 3)
    heat = render.colorize(torch.rand(1, 4, 4), "turbo")
    assert torch.equal(render.overlay(images, heat, 1.0), heat)
    grey = render.overlay(images, heat, 0.0)
    assert torch.allclose(grey[..., 0], grey[..., 2])


def test_unknown_names_are_named() -> None:
    with pytest.raises(ValueError, match="colormap must be one of .*got 'jet'"):
        render.colormap("jet")
    with pytest.raises(ValueError, match="normalize must be one of .*got 'max'"):
        render.normalize(torch.zeros(1, 1, 1), "max")
