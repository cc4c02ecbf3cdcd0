"""The map over the step previews, sent through ComfyUI's progress hook."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from real_models import Loaded, Sampling


@pytest.fixture
def previews(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Any]]:
    """What the server receives, as (steps done, preview)."""
    import comfy.utils

    sent: list[tuple[int, Any]] = []
    monkeypatch.setattr(
        comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, preview, node_id=None: sent.append((value, preview))
    )
    return sent


def run(sampling: Sampling, loaded: Loaded, pack: Callable[[str], ModuleType], *, live: bool) -> tuple[Any, Any]:
    latent, found, _ = sampling.node(loaded, options=pack("uncertainty.options").Options(live_preview=live))
    return latent["samples"], found


def test_map_alone_where_previews_are_off(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType], previews: list[tuple[int, Any]]
) -> None:
    loaded = loaded_models["demo-eps"]
    plain, _ = run(sampling, loaded, pack, live=False)
    assert [preview for _, preview in previews if preview] == []
    previews.clear()
    watched, found = run(sampling, loaded, pack, live=True)
    assert torch.equal(plain, watched)
    pictures = [(value, np.asarray(preview[1])) for value, preview in previews if preview]
    assert found.steps == (2, 3)
    # Shown from the first recorded step on. After the window the last map stays.
    assert [value for value, _ in pictures] == [3, 4, 5]
    expected = pack("nodes.hook.live_preview").picture(found.quantity("denoised_variance")[-1], None)
    assert found.images == 2 and expected.size == (512, 256)  # side by side
    assert np.array_equal(pictures[-1][1], expected)
    assert not np.array_equal(pictures[0][1], pictures[1][1])


def test_nothing_is_shown_outside_a_noise_mask(
    loaded_models: dict[str, Loaded], sampling: Sampling, pack: Callable[[str], ModuleType], previews: list[tuple[int, Any]]
) -> None:
    loaded = loaded_models["demo-eps"]
    mask = torch.zeros(1, 256, 256)
    mask[..., :128] = 1
    latent = loaded.latent(2) | {"noise_mask": mask}
    _, found, _ = sampling.node(loaded, latent_image=latent, options=pack("uncertainty.options").Options(live_preview=True))
    expected = pack("nodes.hook.live_preview").picture(found.quantity("denoised_variance")[-1], None)
    assert np.array_equal(previews[-1][1][1], expected)


def test_map_lies_over_the_preview(
    loaded_models: dict[str, Loaded],
    sampling: Sampling,
    pack: Callable[[str], ModuleType],
    previews: list[tuple[int, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each step sends ComfyUI's own preview first, then the preview in grey with the map over it."""
    from comfy.cli_args import LatentPreviewMethod, args

    monkeypatch.setattr(args, "preview_method", LatentPreviewMethod.Latent2RGB)
    _, found = run(sampling, loaded_models["demo-eps"], pack, live=True)
    third = [preview[1] for value, preview in previews if value == 3]
    assert [image.size for image in third] == [(32, 32), (64, 32)]  # ComfyUI shows the first image, this pack both
    maps = found.quantity("denoised_variance")[0]
    both = np.asarray(pack("nodes.hook.live_preview").picture(maps, [third[0], third[0]]))
    shown = np.asarray(third[1])
    assert np.array_equal(shown[:, :32], both[:, :32]) and not np.array_equal(shown[:, 32:], both[:, 32:])
    assert isinstance(third[1], Image.Image) and len(np.unique(shown[..., 0] - shown[..., 1])) > 10


def test_the_grid_has_room_for_every_image(pack: Callable[[str], ModuleType]) -> None:
    grid = pack("nodes.hook.live_preview").grid
    for count, (rows, columns) in {1: (1, 1), 2: (1, 2), 3: (2, 2), 5: (2, 3), 16: (4, 4)}.items():
        numbers = torch.arange(1.0, count + 1)[:, None, None, None].expand(count, 2, 3, 3)
        tiles = grid(numbers).unfold(0, 2, 2).unfold(1, 3, 3)[:, :, 0, 0, 0]
        assert tiles.shape == (rows, columns)
        assert tiles.flatten().tolist() == [*range(1, count + 1)] + [0] * (rows * columns - count)
