"""Small pictures of saved images."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from uncertainty.storage.picture_entry import content
from uncertainty.storage.thumbnails import thumbnail

ACROSS, DOWN = torch.meshgrid(torch.linspace(0, 1, 1280), torch.linspace(0, 1, 640), indexing="xy")
WIDE = torch.stack([ACROSS, DOWN, 1 - ACROSS], -1)


@pytest.mark.parametrize("kind", ["png", "webp", "jpeg"])
@pytest.mark.parametrize(("longest", "size"), [(512, (512, 256)), (4096, (1280, 640))])
def test_it_is_the_picture_in_small(tmp_path: Path, kind: str, longest: int, size: tuple[int, int]) -> None:
    path = tmp_path / f"wide.{kind}"
    path.write_bytes(content(WIDE, {}, kind))
    small = Image.open(io.BytesIO(thumbnail(path, longest)))
    assert (small.format, small.size) == ("WEBP", size)
    expected = Image.open(io.BytesIO(content(WIDE, {}))).resize(size)
    assert np.abs(np.asarray(small.convert("RGB"), float) - np.asarray(expected, float)).mean() < 3


def test_transparency_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (900, 900), (255, 0, 0, 100)).save(path)
    assert Image.open(io.BytesIO(thumbnail(path, 512))).getpixel((9, 9))[3] == 100
