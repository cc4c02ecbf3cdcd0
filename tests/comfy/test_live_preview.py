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
    expected = pack("nodes.hook.live_preview").picture(found.quantity("denoised_variance")[-1, :1], None)
    assert expected.size == (256, 256)
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
    expected = pack("nodes.hook.live_preview").picture(found.quantity("denoised_variance")[-1, :1], None)
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
    assert [image.size for image in third] == [(32, 32), (32, 32)]
    own = pack("nodes.hook.live_preview").picture(found.quantity("denoised_variance")[:1, 0], third[0])
    assert np.array_equal(np.asarray(third[1]), np.asarray(own))
    assert isinstance(third[1], Image.Image) and len(np.unique(np.asarray(third[1])[..., 0] - np.asarray(third[1])[..., 1])) > 10
