"""Maps of videos with their decoded frames, which outnumber the latent frames."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

VIDEOS, FRAMES = 3, 4
LOOK = {"quantity": "denoised_variance", "step": -1, "colormap": "magma", "opacity": 1.0, "normalize": "batch"}
SPLIT = {
    "mode": "keep_best", "keep": 2, "percentile": 50.0, "threshold": 0.0, "quantity": "denoised_variance", "reject": "highest",
    "window_start": 0.0, "window_end": 1.0, "when_none_pass": "block",
}  # fmt: skip


@pytest.fixture
def video_map(pack: Callable[[str], ModuleType]) -> Any:
    """Three videos of four latent frames; frame t of video v has the value 10·v + t."""
    quantities = pack("uncertainty").PROBED
    values = (10.0 * torch.arange(VIDEOS)[:, None] + torch.arange(FRAMES)).reshape(1, VIDEOS, 1, FRAMES, 1, 1)
    errors = torch.zeros(1, VIDEOS)
    values = values.expand(1, VIDEOS, 16, FRAMES, 4, 6)
    return pack("uncertainty.maps").UncertaintyMap(
        dict.fromkeys(quantities, values), dict.fromkeys(quantities, errors), (3,), 4, torch.ones(1)
    )


def decoded(frames: int, videos: int = VIDEOS) -> torch.Tensor:
    """Videos one after the other, as VAE Decode returns them. The value of every frame is its number."""
    return torch.arange(float(videos * frames)).reshape(-1, 1, 1, 1).expand(-1, 32, 48, 3)


@pytest.fixture
def split(pack: Callable[[str], ModuleType], video_map: Any) -> Callable[..., Any]:
    def run(**changed: Any) -> Any:
        inputs = {"uncertainty": video_map} | SPLIT | changed
        return pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute(**inputs).args

    return run


@pytest.mark.parametrize("scale", [4, 8])
def test_latent_frames_lie_on_the_pictures_they_decode_to(
    scale: int, pack: Callable[[str], ModuleType], video_map: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wan and HunyuanVideo decode T latent frames to 4T - 3 pictures, LTX-Video to 8T - 7."""
    preview = pack("nodes.looking.map_preview")
    seen: list[torch.Tensor] = []
    resize = preview.heatmaps.resize

    def watch(pictures: torch.Tensor, *size: int) -> torch.Tensor:
        seen.append(pictures)
        return resize(pictures, *size)

    monkeypatch.setattr(preview.heatmaps, "resize", watch)
    frames = scale * FRAMES - scale + 1
    heatmap, overlay = preview.UncertaintyMapPreview.execute(uncertainty=video_map, images=decoded(frames), **LOOK).args
    assert heatmap.shape == overlay.shape == (VIDEOS * frames, 32, 48, 3)
    courses = seen[0].reshape(VIDEOS, frames, -1)
    expected = 10 * torch.arange(VIDEOS)[:, None] + torch.linspace(0, FRAMES - 1, frames)
    torch.testing.assert_close(courses, expected[..., None].expand_as(courses))
    latent_frames = 10 * torch.arange(VIDEOS)[:, None] + torch.arange(FRAMES)
    torch.testing.assert_close(courses[:, ::scale, 0], latent_frames.float())


def test_a_video_has_one_colour_scale(pack: Callable[[str], ModuleType], video_map: Any) -> None:
    preview = pack("nodes.looking.map_preview").UncertaintyMapPreview
    heatmap, _ = preview.execute(uncertainty=video_map, images=decoded(13), **(LOOK | {"normalize": "image"})).args
    videos = heatmap.reshape(VIDEOS, 13, -1)
    assert torch.equal(videos[0], videos[1])  # each from its lowest to its highest value
    brightness = videos[0].mean(1)
    assert brightness[0] < brightness[6] < brightness[12]


def test_without_frames_the_latent_ones_are_shown(pack: Callable[[str], ModuleType], video_map: Any) -> None:
    heatmap, _ = pack("nodes.looking.map_preview").UncertaintyMapPreview.execute(uncertainty=video_map, **LOOK).args
    assert heatmap.shape == (VIDEOS * FRAMES, 32, 48, 3)


def test_the_browser_gets_latent_frames_and_the_pictures_nearest_to_them(
    pack: Callable[[str], ModuleType], video_map: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    preview, view_files, written, drawn = pack("nodes.looking.map_preview"), pack("nodes.view_files"), [], []
    monkeypatch.setattr(view_files, "write_tensors", lambda *file: written.append(file) or {"filename": "map"})
    monkeypatch.setattr(view_files, "write_colours", lambda _, picture: drawn.append(picture.mean().item()) or {})
    output = preview.UncertaintyMapPreview.execute(uncertainty=video_map, images=decoded(13), **LOOK)
    assert len(output.ui["images"]) == VIDEOS
    assert sorted(drawn) == [13 * video + frame for video in range(VIDEOS) for frame in (0, 4, 8, 12)]
    *maps, (_, index, about) = written
    assert about["frames"] == FRAMES and len(maps) == VIDEOS
    courses = torch.stack([tensors["denoised_variance"][0, :, 0, 0] for _, tensors, _ in maps])
    torch.testing.assert_close(courses, 10.0 * torch.arange(VIDEOS)[:, None] + torch.arange(FRAMES))
    assert index["ranges"][0, 0].tolist() == [[0, 3], [10, 13], [20, 23], [0, 23]]  # each from its first to its last frame


@pytest.mark.parametrize("node", ["map", "filter"])
def test_clips_play_every_decoded_frame(node: str, pack: Callable[[str], ModuleType], video_map: Any) -> None:
    """The views play each video whole."""
    clips = of_view(node, pack, video_map, decoded(13) / 40)
    assert len(clips) == VIDEOS
    with Image.open(io.BytesIO(clips[-1])) as clip:
        assert (clip.n_frames, clip.size, clip.info["loop"]) == (13, (48, 32), 0)  # type: ignore[attr-defined]
        levels = []
        for frame in range(13):
            clip.seek(frame)
            levels.append(np.asarray(clip.convert("L")).mean())
    assert levels == pytest.approx([255 / 40 * (26 + frame) for frame in range(13)], abs=3)


def of_view(node: str, pack: Callable[[str], ModuleType], video_map: Any, images: torch.Tensor) -> list[bytes]:
    """The clips of a view's run."""
    import folder_paths

    if node == "map":
        output = pack("nodes.looking.map_preview").UncertaintyMapPreview.execute(uncertainty=video_map, images=images, **LOOK)
    else:
        output = pack("nodes.choosing.score_filter").UncertaintyScoreFilter.execute(uncertainty=video_map, images=images, **SPLIT)
    (name,) = output.ui["uncertainty_view"]
    folder = Path(folder_paths.get_temp_directory(), "uncertainty")
    if node == "map":
        with safe_open(folder / name, "pt") as file:
            told = json.loads(file.metadata()["about"])
    else:
        told = json.loads((folder / name).read_text())
    return [(folder / clip["filename"]).read_bytes() for clip in told["clips"]]


def test_videos_are_kept_and_rejected_as_a_whole(split: Callable[..., Any]) -> None:
    latents = {"samples": torch.arange(3.0).reshape(3, 1, 1, 1, 1).expand(3, 16, FRAMES, 4, 6)}
    kept, kept_latents, kept_masks, kept_map, rejected, rejected_latents, rejected_masks, _, indices, _, rejected_map = split(
        images=decoded(13), latents=latents, masks=decoded(13)[..., 0], reject="lowest"
    )
    assert indices == [1, 2] and (kept_map.images, rejected_map.images) == (2, 1)
    assert kept[:, 0, 0, 0].tolist() == kept_masks[:, 0, 0].tolist() == list(range(13, 39))
    assert rejected[:, 0, 0, 0].tolist() == rejected_masks[:, 0, 0].tolist() == list(range(13))
    assert kept_latents["samples"].shape == (2, 16, FRAMES, 4, 6)
    assert rejected_latents["samples"].shape == (1, 16, FRAMES, 4, 6)


def test_masks_may_be_one_a_video(split: Callable[..., Any]) -> None:
    outputs = split(images=decoded(13), masks=decoded(1)[..., 0])
    assert len(outputs[0]) == 26 and outputs[2][:, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize("count", [13, 38, 6, 3])
def test_what_cannot_be_its_frames_is_refused(
    count: int, split: Callable[..., Any], pack: Callable[[str], ModuleType], video_map: Any
) -> None:
    images = decoded(count, videos=1)
    message = f"images has {count} entries, but the map has 3 videos of 4 latent frames, .*: connect the images of this map"
    with pytest.raises(ValueError, match=message):
        split(images=images)
    with pytest.raises(ValueError, match=message):
        pack("nodes.looking.map_preview").UncertaintyMapPreview.execute(uncertainty=video_map, images=images, **LOOK)
